"""Leaderboards as tables for readers, and all their numbers for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from lth_bench.reports import escaping
from lth_bench.reports.columns import TEXTS, numbers
from lth_bench.reports.formats import html, latex, markdown, spreadsheet
from lth_bench.reports.numbers import distinct_percents, half, hundredths, percentage, signed, tenths_percent
from lth_bench.reports.table import Cell, Column, Mark, Row, Table, grid, labelled
from lth_bench.results.controls import named_rivals
from lth_bench.results.frame import BLOCK, rows_of
from lth_bench.results.leaderboard import MET, TROUBLES, Leaderboards
from lth_bench.results.verdicts import EARLY, MARGIN

FORMATS = ("md", "csv", "json", "tex", "html")
LEVEL = "95 %"
NEAR = "≈"
VISIBLE = 5e-4  # a share of weights that is seen in a sparsity of tenths of a per cent


def tables(leaderboards: Leaderboards) -> list[Table]:
    """A table of methods by sparsities for every data set, model and recipe."""
    names, caption = leaderboards.names(), sentence(leaderboards)
    return list(labelled(_table(names[place], rows_of(rows), caption) for place, rows in leaderboards.blocks()))


def _table(title: str, records: list[dict[str, Any]], caption: str) -> Table:
    places, methods = grid(with_missed_targets(records), name_cell, _cell)
    columns = [Column("method"), *(Column(percent, form=hundredths) for percent in distinct_percents(places))]
    rows = [Row([name, *cells]) for name, cells in methods.items()]
    return Table(title, columns, [rows], caption, escaping.slug(f"leaderboard {title}"))


def name_cell(row: Any) -> Cell:
    """A method's name, marked if its recipe is its own."""
    return Cell(str(row["method"]), notes=marks(row))


def marks(row: Any) -> tuple[str, ...]:
    return ("†",) if row["own_recipe"] else ()


def with_missed_targets(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a leaderboard and, at its target, once more each that ended below it, but for those of a pattern.

    A pattern is the target of its rows, whatever sparsity comes of it.
    """
    missed = [row for row in records if row["place"] < row["target"] and not row["pattern"]]
    return [*records, *({**row, "place": row["target"]} for row in missed)]


def is_below(row: Any) -> bool:
    """Whether a row ended below the sparsity at which it is shown."""
    return bool(row["sparsity"] <= row["place"] - MET)


def measured(row: Any) -> str:
    """The measured sparsity of a row, told apart from that of its column."""
    return distinct_percents((row["place"], row["sparsity"]))[1]


def _cell(row: Any) -> Cell:
    """The mean, its difference to the dense network, a measured sparsity above the target, and seeds that were lost.

    Where a row ended below its target, only the sparsity that it reached.
    """
    seeds = finished(row)
    if not row["n"]:
        return Cell(notes=(seeds,))
    if is_below(row):
        return Cell(notes=(f"only {measured(row)}",))
    notes = [f"at {measured(row)}"] if row["sparsity"] > row["target"] + MET else []
    notes += [f"[{seeds}]"] if seeds else []
    return Cell(
        hundredths(row["accuracy"]),
        half(row["accuracy_upper"] - row["accuracy"]),
        _difference(row) if row["target"] and not pd.isna(row["difference"]) else "",
        (*near(row), *notes),
        mark(row),
        value=row["accuracy"],
    )


def mark(row: Any) -> Mark:
    """The mark of a mean: whether it is the highest of its column, or the second."""
    return "best" if row["best"] else "second" if row["second"] else ""


def near(row: Any) -> tuple[str, ...]:
    """The sign of a mean that is not told from the best."""
    return (NEAR,) if row["near_best"] else ()


def near_best(negligible: float) -> str:
    """What the sign of a mean near the best says."""
    more = f" by more than {negligible:g} points" if negligible else ""
    return (
        f"{NEAR}: not told from the highest{more} ({LEVEL}, Tukey, paired by seed, one deviation for all methods shown)"
    )


def lost(row: Any) -> str:
    """How many seeds diverged, failed or are missing, in words; empty if none did."""
    return ", ".join(f"{row[name]} {name}" for name in TROUBLES if row[name])


def finished(row: Any) -> str:
    """How many of its seeds finished and what became of the others, in words; empty if all finished."""
    asked = row["n"] + sum(row[name] for name in TROUBLES)
    return f"{row['n']} of {asked} seeds; {lost(row)}" if row["n"] < asked else ""


def _difference(row: Any) -> str:
    """The difference to the dense network, with its number of seeds where that is below that of the mean."""
    pairs = "" if row["difference_n"] == row["n"] else f", {row['difference_n']} of {row['n']} seeds"
    return f"{signed(row['difference'])}{pairs}"


def sentence(leaderboards: Leaderboards) -> str:
    """What the cells of leaderboards mean, and reasons not to compare them."""
    rows = leaderboards.rows
    seeds = int(rows["n"].max())
    several = f"up to {seeds} seeds, ± half of Student's {LEVEL} interval"
    over = several if seeds > 1 else "1 seed, which has no interval"
    parts = [
        f"Test accuracy in per cent at the last step: the mean over {over}.",
        "Columns are measured sparsities, named in the cell where above the target; in brackets the mean difference to "
        "the dense network of the same seed, in points.",
        f"Bold: the highest mean of a column; underlined: the second; {near_best(leaderboards.negligible)}. "
        "Controls, what only found tickets for others, and methods of which a seed failed, diverged or is missing are "
        "not in that contest."
        if rows["best"].any() else "",
        "A cell says how many seeds finished where not all did; – was not asked for.",
        "† trained with a recipe of its own." if rows["own_recipe"].any() else "",
        *doubts(rows),
    ]  # fmt: skip
    return " ".join(part for part in parts if part)


def doubts(rows: pd.DataFrame) -> Iterator[str]:
    """Reasons not to compare rows: environments or data differ, or a model is not fit to be pruned."""
    environments = distinct(rows["environment"])
    if len(environments) > 1:
        yield f"Not all were run in one environment, whose numbers may differ: {'; '.join(environments)}."
    for (dataset, model), part in rows.groupby(["dataset", "model"], sort=False):
        if len(distinct(part["data"])) > 1:
            yield f"Rows of {model} on {dataset} were run on data that differ: they cannot be compared."
        yield from code_doubts(part)
    yield from outside(rows)
    yield from below_targets(rows)
    yield from kept_zeros(rows)
    for row in rows[rows["unfit"] != ""].drop_duplicates(["dataset", "model", "unfit"]).to_dict("records"):
        yield f"{row['model']} on {row['dataset']} is not fit to be pruned at initialisation: {row['unfit']}."


def below_targets(rows: pd.DataFrame) -> Iterator[str]:
    """Which rows ended below their targets, at which sparsity, and why if their methods say that."""
    missed = rows[rows["place"] < rows["target"]]
    patterned = missed[missed["pattern"] != ""].drop_duplicates(["model", "pattern", "off_target"])
    for row in rows_of(patterned):
        why = escaping.shortened(row["off_target"])
        yield f"The pattern {row['pattern']} leaves {row['model']} at {tenths_percent(row['sparsity'])}: {why}."
    words = []
    for row in rows_of(missed[missed["pattern"] == ""]):
        reason = f": {escaping.shortened(row['off_target'])}" if row["off_target"] else ""
        target, sparsity = distinct_percents((row["target"], row["sparsity"]))
        words.append(f"{_whose(row, rows)} at {target} ({sparsity}{reason})")
    if words:
        yield f"Below their targets, and placed by what they reached: {'; '.join(words)}."


def _whose(row: Any, rows: pd.DataFrame) -> str:
    """The method of a row, with its model where there are several."""
    return f"{row['method']} on {row['model']}" if rows["model"].nunique() > 1 else str(row["method"])


def kept_zeros(rows: pd.DataFrame) -> Iterator[str]:
    """Which rows have weights that are zero though their masks keep them, and how they are counted."""
    found = rows[rows["kept_zeros"] > 0].sort_values("target", kind="stable").to_dict("records")
    words = [f"{_whose(row, rows)} at {percentage(row['target'])} ({row['kept_zeros']:,.0f})" for row in found]
    if words:
        yield (
            "Sparsities count weights that are not zero; masks keep more where a weight has just grown or was trained "
            f"to zero, on average by the number in brackets: {'; '.join(words)}."
        )


def code_doubts(rows: pd.DataFrame) -> Iterator[str]:
    """Why rows of one model and data set cannot be compared, or are not of one method, as their code differs."""
    for (dataset, model), part in rows.groupby(["dataset", "model"], sort=False):
        if len(distinct(part["network_code"])) > 1:
            yield f"The code of {model} or of {dataset} changed between their experiments: these cannot be compared."
    codes = rows.groupby([*BLOCK, "method"], sort=False)["method_code"]
    if mixed := dict.fromkeys(str(place[-1]) for place, texts in codes if len(distinct(texts)) > 1):
        yield f"Rows that mix results of different code of one method: {'; '.join(mixed)}."


def outside(rows: pd.DataFrame) -> Iterator[str]:
    """What sparsities leave out, of models where that shows in the digits of a sparsity."""
    shares = rows.groupby("model", sort=False)["left_out"].max()
    for model, share in shares[shares >= VISIBLE].items():
        yield (
            f"Sparsities of {model} leave out {tenths_percent(share)} of its matrix weights, which no method prunes: "
            "they are outside linear and convolution layers, or kept dense."
        )


def distinct(texts: pd.Series[str]) -> list[str]:
    """The distinct parts of texts in which semicolons separate them, sorted."""
    return sorted({part for text in texts.unique() for part in text.split("; ") if part})


def formatted(leaderboards: Leaderboards, form: str) -> str:
    """Leaderboards in one of `FORMATS`: "md", "tex" and "html" as tables, "csv" and "json" with all numbers."""
    makers: dict[str, Callable[[], str]] = {
        "md": lambda: markdown.document(tables(leaderboards)),
        "tex": lambda: latex.document(tables(leaderboards)),
        "html": lambda: html.document(tables(leaderboards), "Leaderboard"),
        "csv": lambda: spreadsheet.csv(numbers(leaderboards), TEXTS),
        "json": lambda: numbers(leaderboards).to_json(orient="records", indent=1, double_precision=10) + "\n",
    }
    return makers[form]()


def verdict_sentence() -> str:
    """What the verdicts mean."""
    return (
        f"Tickets are masks over initial weights, or over those of the first {EARLY:.0%} of training, that are trained "
        f"to the end. One wins if three things are shown, each paired by seed and one-sided at {LEVEL} (the intervals "
        f"are those of these tests): it is not worse than the dense network by more than {MARGIN} points, reaches its "
        "lowest validation loss in no more steps, and is better than its own mask with other initial weights (the "
        f"control {named_rivals()}). It fails if the opposite of one is shown, and is unknown where one is not told. A "
        "lowest loss at the last step counts as there; where both networks have it there, it tells nothing. Steps of "
        "the search are not counted here; training FLOPs count them."
    )
