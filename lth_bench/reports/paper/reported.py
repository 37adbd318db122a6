"""Rows of published numbers, below the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lth_bench.reports.paper.cells import elsewhere, reported
from lth_bench.reports.table import NOTHING, Cell, Row
from lth_bench.results.published import citation

NEAR = 0.005  # a published number stands in a column whose sparsity differs by no more
NOTE = (
    f"In italics: reported for the same network at sparsities within {100 * NEAR:g} points; protocols differ, so these "
    "are not compared."
)


def reported_rows(numbers: pd.DataFrame, targets: Sequence[float]) -> list[Row]:
    """Published numbers under these sparsities, a row for each method of a paper."""
    rows = []
    papers = [f"{row.method} ({citation(row)})" for row in numbers.itertuples()]
    for name, of_method in numbers.assign(name=papers).groupby("name", sort=False):
        dense = _nearest(of_method, 0.0)
        if dense != NOTHING:
            rows.append(Row([Cell(f"{name}, at 0%", mark="reported"), dense]))
        pruned = [_nearest(of_method, target) for target in targets]
        if set(pruned) - {NOTHING}:
            rows.append(Row([Cell(str(name), mark="reported"), *pruned]))
    return rows


def _nearest(numbers: pd.DataFrame, sparsity: float) -> Cell:
    """The number nearest to a sparsity, or the range of several equally near ones."""
    away = (numbers["sparsity"] - sparsity).abs().round(6)
    if away.min() > (NEAR if sparsity else 0.0):
        return NOTHING
    nearest = numbers[away == away.min()]
    note = elsewhere(nearest["sparsity"].iloc[0], sparsity)
    return reported(nearest["accuracy"].min(), nearest["accuracy"].max(), note)
