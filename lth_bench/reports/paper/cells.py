"""Tables for papers as plain text: numbers, their intervals, and what is to be known of each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from lth_bench.reports.tables import shown_name
from lth_bench.results.leaderboard import MET

UNKNOWN = "n/a"
TROUBLES = {"diverged": "div.", "failed": "fail.", "missing": "miss."}


@dataclass(frozen=True)
class Cell:
    """A number or a word, what stands behind it, and how it is set."""

    text: str
    spread: str = ""
    note: str = ""
    bold: bool = False
    italic: bool = False

    @property
    def is_number(self) -> bool:
        return re.fullmatch(r"[+−]?[\d,]+(\.\d+)?", self.text) is not None


DASH = Cell("–")  # not asked for
Row = list[Cell]


@dataclass(frozen=True)
class PaperTable:
    """One table in plain text: sections have rules between them.

    The first cell of a row is its name; the second spans all columns where there are no more.
    """

    title: str
    caption: str
    label: str
    header: list[str]
    sections: list[list[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for section in self.sections for row in section]

    def spans(self, row: Row) -> bool:
        return len(row) < len(self.header)

    @property
    def columns(self) -> list[list[Cell]]:
        """The cells of each column but for that of names, without those that span several."""
        whole = [row for row in self.rows if not self.spans(row)]
        return [[row[number] for row in whole] for number in range(1, len(self.header))]


def name(rows: list[Any]) -> Cell:
    """The name of a method with its marks: rows of a leaderboard may be trained with recipes of its own."""
    marked = next((row for row in rows if row["own_recipe"]), rows[0])
    return Cell(shown_name(marked) + " ‡" * bool(marked["control"]))


def accuracy(row: Any) -> Cell:
    """The mean, its interval and what is to be known of it; only counts where no seed finished."""
    troubles = _troubles(row)
    if not row["n"]:
        return Cell(troubles)
    note = "; ".join(filter(None, (elsewhere(row["sparsity"], row["target"]), troubles)))
    bold = bool(row["best"]) and row["place"] == row["target"]
    return Cell(f"{row['accuracy']:.2f}", _spread(row["accuracy_upper"] - row["accuracy"]), note, bold)


def difference(row: Any) -> Cell:
    """To the dense network, in points."""
    mean = row["difference"]
    if math.isnan(mean):
        return Cell(UNKNOWN)
    sign = "−" if round(mean, 2) < 0 else "+"
    pairs = f"n = {row['difference_n']}" if row["difference_n"] < row["n"] else ""
    return Cell(f"{sign}{abs(mean):.2f}", _spread(row["difference_upper"] - mean), pairs)


def number(value: float, decimals: int = 2) -> Cell:
    return Cell(f"{value:,.{decimals}f}" if math.isfinite(value) else UNKNOWN)


def elsewhere(sparsity: float, target: float) -> str:
    """The sparsity, if it is not that of the column."""
    return "" if abs(sparsity - target) < MET else f"{100 * sparsity:.{1 if sparsity < 0.99 else 2}f}%"


def _spread(half: float) -> str:
    return "" if math.isnan(half) else f"± {half:.2f}"


def _troubles(row: Any) -> str:
    asked = row["n"] + sum(row[status] for status in TROUBLES)
    return ", ".join(f"{row[status]}/{asked} {short}" for status, short in TROUBLES.items() if row[status])
