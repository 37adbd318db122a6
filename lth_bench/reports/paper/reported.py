"""Rows of published numbers, below the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lth_bench.reports.paper.cells import reported
from lth_bench.reports.table import Cell, Row

NEAR = 0.005  # a published number stands in a column whose sparsity differs by no more
NOTE = (
    f"In italics: reported for the same network at sparsities within {100 * NEAR:g} points, with the digits and "
    "standard deviations of the papers; protocols differ, so these are not compared."
)
UNREPORTED = Cell()
Place = tuple[pd.DataFrame, float]
"""Published numbers of a network, and the sparsity of a column."""


def reported_rows(dense: Sequence[Place], pruned: Sequence[Place], width: int) -> list[Row]:
    """Published numbers of dense and of pruned networks, rows for each method of a paper, with so many cells.

    One dense network beside several pruned ones spans all columns.
    """
    padding = [UNREPORTED] * (width - len(pruned))
    rows = []
    for name in dict.fromkeys(name for numbers, _ in pruned for name in _names(numbers)):
        for places, suffix in ((dense, ", at 0%"), (pruned, "")):
            found = [_nearest(numbers[_names(numbers) == name], sparsity) for numbers, sparsity in places]
            beside = padding if len(found) == len(pruned) else []
            if set(found) - {UNREPORTED}:
                rows.append(Row([Cell(name + suffix, mark="reported"), *found, *beside]))
    return rows


def _names(numbers: pd.DataFrame) -> pd.Series[str]:
    """The methods of papers, and which weights their sparsities count where that is not all."""
    counted = ("; sparsity of " + numbers["counted"]).where(numbers["counted"] != "", "")
    return numbers["method"] + " (" + numbers["citation"] + counted + ")"


def _nearest(numbers: pd.DataFrame, sparsity: float) -> Cell:
    """The numbers nearest to a sparsity."""
    away = (numbers["sparsity"] - sparsity).abs().round(6)
    if numbers.empty or away.min() > (NEAR if sparsity else 0.0):
        return UNREPORTED
    return reported(numbers[away == away.min()], sparsity)
