"""Leaderboards: means over seeds, per data set, model and recipe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lth_bench.results import BLOCK, METHOD

FORMATS = ("md", "csv", "json", "tex")
MISSING = "–"
MET = 5e-4  # a target is met where the measured sparsity is nearer than this


@dataclass(frozen=True)
class Block:
    """One leaderboard: methods down, sparsities across, cells as text."""

    dataset: str
    model: str
    table: pd.DataFrame

    @property
    def title(self) -> str:
        return f"{self.model} on {self.dataset}"


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for every method and sparsity: mean, standard deviation and n over the seeds that finished."""
    groups = frame.groupby(METHOD, sort=False)
    measures = {
        "sparsity": ("sparsity", "mean"),
        "accuracy": ("last_accuracy", "mean"),
        "accuracy_sd": ("last_accuracy", "std"),
        "best_validation_accuracy": ("best_validation_accuracy", "mean"),
        "early_stop_accuracy": ("early_stop_accuracy", "mean"),
        "early_stop_step": ("early_stop_step", "mean"),
        "early_stop_step_sd": ("early_stop_step", "std"),
        "censored": ("censored", "sum"),
        "difference": ("difference", "mean"),
        "difference_sd": ("difference", "std"),
        "difference_n": ("difference", "count"),
        "steps": ("steps", "mean"),
    }
    done = frame[frame["status"] == "done"].groupby(METHOD, sort=False)
    table = done.agg(**{name: pd.NamedAgg(*pair) for name, pair in measures.items()})
    counts = groups["status"].value_counts().unstack(fill_value=0)
    statuses = {name: counts.get(name, 0) for name in ("done", "diverged", "failed", "missing")}
    firsts = {name: pd.NamedAgg(name, "first") for name in ("recipe", "own_recipe", "control")}
    about = groups.agg(**firsts, unfit=pd.NamedAgg("unfit", "max"))
    several = done[["environment", "data"]].agg(_distinct)
    whole = about.join(table).join(several).assign(**statuses).rename(columns={"done": "n"})
    rows = whole.reset_index().rename(columns={"asked": "target"})
    by_method = rows.groupby([*BLOCK, "method"], sort=False).ngroup().argsort(kind="stable")
    return rows.iloc[by_method].reset_index(drop=True)


def _distinct(found: pd.Series) -> str:
    return "; ".join(sorted(set(found) - {""}))


def blocks(summarised: pd.DataFrame) -> Iterator[Block]:
    """The leaderboards, one for every data set and model; rows in a recipe of their own say so."""
    for (dataset, model), rows in summarised.groupby(BLOCK, sort=False):
        placed = rows.assign(
            method=[shown_name(row) for row in rows.itertuples()],
            cell=[_cell(row) for row in rows.itertuples()],
            place=[_place(row) for row in rows.itertuples()],
        )
        cells = placed.groupby(["method", "place"], sort=False)["cell"].agg(
            lambda found: "; ".join(dict.fromkeys(found))
        )
        table = cells.unstack().reindex(index=list(dict.fromkeys(placed["method"]))).sort_index(axis=1)
        table = table.set_axis(_percentages([float(place) for place in table.columns]), axis=1)
        yield Block(str(dataset), str(model), table.fillna(MISSING))


def _place(row: Any) -> float:
    """The sparsity at which a row stands: its target if that was met or exceeded, else what was measured."""
    met = pd.isna(row.sparsity) or row.sparsity > row.target - MET
    return float(row.target if met else round(row.sparsity, 4))


def _percentages(places: list[float]) -> list[str]:
    """Sparsities with as few digits as tell them apart, but one."""
    texts = [[f"{100 * place:.{digits}f}%" for place in places] for digits in range(1, 9)]
    return next((found for found in texts if len(set(found)) == len(places)), texts[-1])


def formatted(summarised: pd.DataFrame, kind: str) -> str:
    """The leaderboard as text: "md" and "tex" as wide tables, "csv" and "json" with every figure."""
    makers: dict[str, Callable[[pd.DataFrame], str]] = {
        "md": _markdown,
        "tex": _latex,
        "csv": lambda table: table.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "json": lambda table: table.to_json(orient="records", indent=1, double_precision=6) + "\n",
    }
    return makers[kind](summarised)


def sentence(summarised: pd.DataFrame) -> str:
    """What the cells of a leaderboard mean."""
    own = " † trained with a recipe of its own." if summarised["own_recipe"].any() else ""
    environments = sorted({place for cell in summarised["environment"].dropna() for place in cell.split("; ") if place})
    if len(environments) > 1:
        own += f" Not all were run in one environment, whose numbers may differ: {'; '.join(environments)}."
    for (dataset, model), rows in summarised.groupby(BLOCK, sort=False):
        if len({digest for cell in rows["data"].dropna() for digest in cell.split("; ") if digest}) > 1:
            own += f" Rows of {model} on {dataset} were run on data that differ: they cannot be compared."
    seeds = int(summarised["n"].max())
    over = "1 seed" if seeds == 1 else f"up to {seeds} seeds"
    return (
        f"Test accuracy in per cent at the last step, mean ± standard deviation over {over}, by measured "
        f"sparsity, which is named where it is above the target; in brackets the mean difference to the dense network "
        f"of the same seed, in points. "
        f"n is given where fewer seeds finished; {MISSING} was not asked for.{own}{_unfit(summarised)}"
    )


def _unfit(summarised: pd.DataFrame) -> str:
    """What the doctor holds against models, for methods that score at initialisation."""
    rows = summarised[summarised["unfit"] != ""].drop_duplicates([*BLOCK, "unfit"])
    return "".join(
        f" {row.model} on {row.dataset} is not fit to be pruned at initialisation: {row.unfit}."
        for row in rows.itertuples()
    )


def _markdown(summarised: pd.DataFrame) -> str:
    parts = [
        f"### {escaped(block.title)}\n\n{_escaped(block.table).to_markdown(disable_numparse=True)}\n"
        for block in blocks(summarised)
    ]
    return "\n".join([*parts, escaped(sentence(summarised)) + "\n"])


def escaped(text: str) -> str:
    """Text that stays text in Markdown, on one line."""
    return re.sub(r"([\\`*\[\]<>|$~])", r"\\\1", " ".join(text.split()))


def _escaped(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(index=escaped, columns=str).rename_axis("method")


def _latex(summarised: pd.DataFrame) -> str:
    return "\n".join(_latex_table(block, sentence(summarised)) for block in blocks(summarised))


def _latex_table(block: Block, caption: str) -> str:
    replaced = block.table.map(lambda text: text.replace("±", r"$\pm$").replace(MISSING, "--"))
    named = replaced.rename(index=_tex).rename(columns=lambda text: _tex(str(text))).rename_axis(None, axis=1)
    return named.rename_axis(None).to_latex(
        escape=False,
        column_format="l" + "r" * len(named.columns),
        caption=_tex(f"{block.title}. {caption}"),
        position="t",
    )


def _tex(text: str) -> str:
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {"^": r"\textasciicircum{}", "±": r"$\pm$", "†": r"$\dagger$", "–": "--", "·": r"$\cdot$"}
    return "".join(special.get(character, character) for character in text)


def shown_name(row: Any) -> str:
    """A method's name, marked if it was trained with a recipe of its own."""
    return f"{row.method} †" if row.own_recipe else str(row.method)


def _pairs(row: Any) -> str:
    """How many seeds a difference rests on, where those are fewer than the mean's."""
    return "" if row.difference_n == row.n else f", n={int(row.difference_n)}"


def _cell(row: Any) -> str:
    """Mean ± deviation (difference), the sparsity if it is above the target, and what did not finish."""
    n, wanted = row.n, row.n + row.diverged + row.failed + row.missing
    faults = {name: getattr(row, name) for name in ("diverged", "failed", "missing")}
    troubles = [f"{count} {name}" for name, count in faults.items() if count]
    if not n:
        return ", ".join(troubles)
    spread = "" if n < 2 else f" ± {row.accuracy_sd:.2f}"
    versus = "" if not row.target or pd.isna(row.difference) else f" ({row.difference:+.2f}{_pairs(row)})"
    beyond = f" at {100 * row.sparsity:.1f}%" if row.sparsity > row.target + MET else ""
    note = f" [n={n}; {', '.join(troubles)}]" if n < wanted else ""
    return f"{row.accuracy:.2f}{spread}{versus}{beyond}{note}"
