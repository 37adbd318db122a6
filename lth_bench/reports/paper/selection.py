"""Which rows of a run directory a table for a paper shows."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lth_bench.reports.methods import named
from lth_bench.results.frame import dense_runs


@dataclass(frozen=True)
class RowSelection:
    """The rows of a table: `at` a sparsity, of `methods` by name with commas between (all if empty), and what else.

    Differences to the best mean of `equivalence` points do not count. Methods are `cited` by the keys of their papers.
    With `average`, the layout of models has all averages over them.
    """

    at: float | None = None
    methods: str = ""
    controls: bool = True
    published: bool = False
    equivalence: float = 0.0
    cited: bool = False
    average: bool = False


def selected(frame: pd.DataFrame, selection: RowSelection) -> pd.DataFrame:
    """The rows of the selected methods and of dense networks; raises ValueError if there are none."""
    if not selection.controls:
        frame = frame[frame["control"] == ""]
    if selection.methods:
        names = named(selection.methods, list(dict.fromkeys(frame["method"])))
        frame = frame[frame["method"].isin(names) | frame.index.isin(dense_runs(frame).index)]
    if frame.empty:
        raise ValueError("there are only controls, and they are left out")
    return frame.reset_index(drop=True)
