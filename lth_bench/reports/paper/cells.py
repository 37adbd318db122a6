"""Cells of tables for papers, made from rows of leaderboards."""

from __future__ import annotations

import math
from typing import Any

from lth_bench.reports.leaderboards import mark, name_cell, near
from lth_bench.reports.numbers import bounds, distinct_percents, half, hundredths, signed, tenths, whole
from lth_bench.reports.paper.choices import Spread
from lth_bench.reports.table import Cell
from lth_bench.results.leaderboard import MET, TROUBLES

UNKNOWN = "n/a"
SHORT = {"diverged": "div.", "failed": "fail.", "missing": "miss."}


def name(rows: list[Any]) -> Cell:
    """The name of a method with the marks of all its rows."""
    marked = name_cell(next((row for row in rows if row["own_recipe"]), rows[0]))
    others = ["‡"] * bool(rows[0]["control"]) + ["§"] * bool(rows[0]["helper"])
    return Cell(marked.text, notes=(*marked.notes, *others))


def accuracy(row: Any, spread: Spread) -> Cell:
    """The mean with its spread, another sparsity and lost seeds; only the latter if no seed finished."""
    troubles = _troubles(row)
    if not row["n"]:
        return Cell(troubles)
    met = row["place"] == row["target"]
    return Cell(
        hundredths(row["accuracy"]),
        _spread(row, "accuracy", spread),
        notes=(*(near(row) if met else ()), *_note(elsewhere(row["sparsity"], row["target"]), troubles)),
        mark=mark(row) if met else "",
        value=row["accuracy"],
    )


def difference(row: Any, spread: Spread) -> Cell:
    """The difference to the dense network, in points."""
    mean = row["difference"]
    if math.isnan(mean):
        return Cell(UNKNOWN)
    pairs = f"n = {row['difference_n']}" if row["difference_n"] < row["n"] else ""
    return Cell(signed(mean), _spread(row, "difference", spread), notes=_note(pairs), value=mean)


def number(value: float, decimals: int = 2, note: str = "") -> Cell:
    if not math.isfinite(value):
        return Cell(UNKNOWN)
    return Cell(f"{value:,.{decimals}f}", notes=_note(note), value=value)


def mean(row: Any, name: str, spread: Spread) -> Cell:
    """An average over leaderboards with its interval, unless no spread is shown."""
    form = whole if name == "elo" else tenths
    interval = "" if spread == "none" else bounds(row[f"{name}_lower"], row[f"{name}_upper"], form)
    return Cell(form(row[name]), interval, value=row[name])


def reported(numbers: Any, target: float) -> Cell:
    """Numbers that a paper reports at one sparsity: with its digits and standard deviation, or the range of several."""
    decimals, ends = numbers["decimals"].max(), (numbers["accuracy"].min(), numbers["accuracy"].max())
    low, high = (f"{value:.{decimals}f}" for value in ends)
    note = _note(elsewhere(numbers["sparsity"].iloc[0], target))
    if low != high:
        return Cell(f"{low}–{high}", notes=note, mark="reported")
    deviation = numbers["deviation"].max()
    spread = "" if math.isnan(deviation) else f"± {deviation:.{decimals}f}"
    return Cell(low, spread, notes=note, mark="reported", value=ends[0])


def elsewhere(sparsity: float, target: float) -> str:
    """The sparsity, if it is not its column's."""
    return "" if abs(sparsity - target) < MET else distinct_percents((target, sparsity))[1]


def _spread(row: Any, name: str, spread: Spread) -> str:
    """Half of the interval of a mean, or its standard deviation."""
    if spread == "none":
        return ""
    return half(row[f"{name}_sd"] if spread == "sd" else row[f"{name}_upper"] - row[name])


def _note(*texts: str) -> tuple[str, ...]:
    note = "; ".join(filter(None, texts))
    return (f"({note})",) if note else ()


def _troubles(row: Any) -> str:
    asked = row["n"] + sum(row[status] for status in TROUBLES)
    return ", ".join(f"{row[status]}/{asked} {SHORT[status]}" for status in TROUBLES if row[status])
