"""Leaderboards as text: wide tables to read, and every figure for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lth_bench.reports import escaping
from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import MET, Leaderboards
from lth_bench.results.verdicts import MARGIN, verdicts

FORMATS = ("md", "csv", "json", "tex", "html")
MISSING = "–"
TROUBLES = ("diverged", "failed", "missing")
LEVEL = "95 %"
NUMBERS = [
    *BLOCK,
    "method",
    "target",
    "trained_with",
    "own_recipe",
    "pruner",
    "control",
    "n",
    *TROUBLES,
    "sparsity",
    "effective_sparsity",
    "collapsed_layers",
    "accuracy",
    "accuracy_lower",
    "accuracy_upper",
    "accuracy_sd",
    "difference",
    "difference_lower",
    "difference_upper",
    "difference_n",
    "p",
    "p_holm",
    "sign_flip_p",
    "sign_flip_least",
    "rank",
    "best",
    "area",
    "verdict",
    "why",
    "best_validation_accuracy",
    "early_stop_accuracy",
    "early_stop_step",
    "early_stop_step_sd",
    "censored",
    "loss",
    "calibration_error",
    "top5_accuracy",
    "steps",
    "training_flops",
    "training_flops_dense",
    "inference_flops",
    "inference_share",
    "theoretical_speedup",
    "latency",
    "parameters",
    "bytes_dense",
    "bytes_bitmap",
    "bytes_csr",
    "seconds",
    "peak_memory",
    "unfit",
    "environment",
    "data",
]
"""The columns for programs, in their order."""
TEXTS = [*BLOCK, "method", "trained_with", "pruner", "control", "why", "unfit", "environment", "data"]


@dataclass(frozen=True)
class Table:
    """One leaderboard: methods down, sparsities across; cells as text, and whether they are among the best."""

    title: str
    cells: pd.DataFrame
    best: pd.DataFrame


def detailed(found: Leaderboards) -> pd.DataFrame:
    """A row for every method and target, with every figure and its verdict."""
    keys = [*BLOCK, "method", "target"]
    return found.rows.merge(verdicts(found), on=keys, how="left").fillna({"verdict": "", "why": ""})[NUMBERS]


def tables(found: Leaderboards) -> Iterator[Table]:
    """The leaderboards, one for every data set, model and recipe; rows in a recipe of their own say so."""
    names = found.names()
    return (_table(names[place], rows) for place, rows in found.blocks())


def _table(title: str, rows: pd.DataFrame) -> Table:
    records = rows.to_dict("records")
    placed = pd.DataFrame(
        {
            "method": [shown_name(row) for row in records],
            "place": rows["place"].to_numpy(),
            "cell": [_cell(row) for row in records],
            "best": rows["best"].to_numpy(),
        }
    )
    methods, at = list(dict.fromkeys(placed["method"])), ["method", "place"]
    several = placed.duplicated(at, keep=False)
    joined = placed[several].groupby(at, sort=False, as_index=False)
    together = joined.agg({"cell": _joined, "best": "all"})
    single = pd.concat([placed[~several], together]).set_index(at)
    cells, best = single["cell"].unstack(), single["best"].unstack()
    cells, best = (part.reindex(index=methods).sort_index(axis=1) for part in (cells, best))
    columns = _percentages([float(place) for place in cells.columns])
    shown = cells.fillna(MISSING).set_axis(columns, axis=1).rename_axis(None, axis=1)
    return Table(title, shown, best.eq(True).set_axis(columns, axis=1))


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _percentages(places: list[float]) -> list[str]:
    """Sparsities with as few digits as tell them apart, but one."""
    texts = [[f"{100 * place:.{digits}f}%" for place in places] for digits in range(1, 9)]
    return next((found for found in texts if len(set(found)) == len(places)), texts[-1])


def shown_name(row: Any) -> str:
    """A method's name, marked if it was trained with a recipe of its own."""
    return f"{row['method']} †" if row["own_recipe"] else str(row["method"])


def _cell(row: Any) -> str:
    """Mean ± half an interval (difference), the sparsity if it is above the target, and what did not finish."""
    troubles = [f"{row[name]} {name}" for name in TROUBLES if row[name]]
    if not row["n"]:
        return ", ".join(troubles)
    spread = "" if row["n"] < 2 else f" ± {row['accuracy_upper'] - row['accuracy']:.2f}"
    told = row["target"] and not pd.isna(row["difference"])
    versus = f" ({round(row['difference'], 2) + 0.0:+.2f}{_pairs(row)})" if told else ""
    beyond = f" at {100 * row['sparsity']:.1f}%" if row["sparsity"] > row["target"] + MET else ""
    note = f" [n={row['n']}; {', '.join(troubles)}]" if troubles else ""
    return f"{row['accuracy']:.2f}{spread}{versus}{beyond}{note}"


def _pairs(row: Any) -> str:
    """How many seeds a difference rests on, where those are fewer than the mean's."""
    return "" if row["difference_n"] == row["n"] else f", n={row['difference_n']}"


def sentence(found: Leaderboards) -> str:
    """What the cells of a leaderboard mean, and what speaks against comparing them."""
    rows = found.rows
    seeds = int(rows["n"].max())
    several = f"up to {seeds} seeds, ± half of Student's {LEVEL} interval"
    over = several if seeds > 1 else "1 seed, which has no interval"
    parts = [
        f"Test accuracy in per cent at the last step: the mean over {over}.",
        "Columns are measured sparsities, named in the cell where above the target; in brackets the mean difference to "
        "the dense network of the same seed, in points.",
        f"Bold: not distinguishable from the best method of its column by the paired {LEVEL} interval; controls, and "
        "methods of which a seed failed or diverged, are not in that contest." if rows["best"].any() else "",
        f"n is given where fewer seeds finished; {MISSING} was not asked for.",
        "† trained with a recipe of its own." if rows["own_recipe"].any() else "",
        *doubts(rows),
    ]  # fmt: skip
    return " ".join(part for part in parts if part)


def doubts(rows: pd.DataFrame) -> Iterator[str]:
    """What speaks against comparing rows: environments and data that differ, models that are not fit."""
    environments = distinct(rows["environment"])
    if len(environments) > 1:
        yield f"Not all were run in one environment, whose numbers may differ: {'; '.join(environments)}."
    for (dataset, model), part in rows.groupby(["dataset", "model"], sort=False):
        if len(distinct(part["data"])) > 1:
            yield f"Rows of {model} on {dataset} were run on data that differ: they cannot be compared."
    for row in rows[rows["unfit"] != ""].drop_duplicates(["dataset", "model", "unfit"]).to_dict("records"):
        yield f"{row['model']} on {row['dataset']} is not fit to be pruned at initialisation: {row['unfit']}."


def distinct(texts: pd.Series[str]) -> list[str]:
    """The different texts that are joined by semicolons in the cells of a column."""
    return sorted({part for text in texts.unique() for part in text.split("; ") if part})


def formatted(found: Leaderboards, kind: str) -> str:
    """The leaderboard as text: "md", "tex" and "html" as wide tables, "csv" and "json" with every figure."""
    makers: dict[str, Callable[[Leaderboards], str]] = {
        "md": _markdown,
        "tex": _latex,
        "html": _html,
        "csv": lambda board: _safe(detailed(board)).to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "json": lambda board: detailed(board).to_json(orient="records", indent=1, double_precision=10) + "\n",
    }
    return makers[kind](found)


def _safe(table: pd.DataFrame) -> pd.DataFrame:
    """Text that no spreadsheet takes for a formula."""
    return table.assign(**{name: table[name].map(escaping.csv) for name in TEXTS})


def _markdown(found: Leaderboards) -> str:
    parts = []
    for table in tables(found):
        cells = table.cells.map(escaping.markdown)
        bold = cells.where(~table.best, "**" + cells + "**").rename(index=escaping.markdown).rename_axis("method")
        parts.append(f"### {escaping.markdown(table.title)}\n\n{bold.to_markdown(disable_numparse=True)}\n")
    return "\n".join([*parts, escaping.markdown(sentence(found)) + "\n"])


def _latex(found: Leaderboards) -> str:
    caption = sentence(found)
    return "\n".join(_latex_table(table, caption) for table in tables(found))


def _latex_table(table: Table, caption: str) -> str:
    cells = table.cells.map(escaping.latex)
    bold = cells.where(~table.best, r"\textbf{" + cells + "}")
    named = bold.rename(index=escaping.latex, columns=escaping.latex).rename_axis(None)
    return named.to_latex(
        escape=False,
        column_format="l" + "r" * len(named.columns),
        caption=escaping.latex(f"{table.title}. {caption}"),
        position="t",
    )


HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<title>Leaderboard</title>
"""


def _html(found: Leaderboards) -> str:
    parts = [f"<h2>{escaping.html(table.title)}</h2>\n{_html_table(table)}" for table in tables(found)]
    return "\n".join([HEAD, *parts, f"<p>{escaping.html(sentence(found))}</p>\n"])


def _html_table(table: Table) -> str:
    cells = table.cells.map(escaping.html)
    bold = cells.where(~table.best, "<b>" + cells + "</b>")
    head = "".join(f"<th>{escaping.html(name)}</th>" for name in ["method", *bold.columns])
    lines = [
        f"<tr><th>{escaping.html(method)}</th>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
        for method, row in zip(bold.index, bold.to_numpy(), strict=True)
    ]
    return "\n".join(["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *lines, "</tbody>", "</table>"])


def verdict_sentence() -> str:
    """What the verdicts mean."""
    return (
        f"A ticket wins if three things are shown: it is not worse than the dense network by more than {MARGIN} points "
        f"(paired by seed, one-sided, {LEVEL}), trains in no more steps (to the lowest validation loss, or to the end "
        "where that was at the end), and is better than its own mask with other initial weights (the control redraw). "
        "It fails if the opposite of one is shown, and is unknown where seeds are too few to tell, or no such control "
        "was run. Steps of the search are not counted here; training FLOPs count them."
    )
