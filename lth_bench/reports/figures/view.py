"""A leaderboard as figures see it, and the words that their captions share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from lth_bench.reports import escaping
from lth_bench.reports.figures.style import Mark
from lth_bench.reports.numbers import percentage
from lth_bench.results.leaderboard import Place, dense_rows

Sketch = tuple[str, Callable[[], Figure]]
"""A caption, and what draws its figure."""


@dataclass(frozen=True)
class View:
    """A leaderboard as figures see it.

    `early` bounds the means of early-stop steps, and has the index of the rows; `target` is the one shown where there
    is room for one. `layers` has, for each method there, the shares of weights left: a row a seed, a column a layer;
    `curves` the validation accuracy in per cent by step, the dense network's under "".
    """

    block: Place
    title: str
    rows: pd.DataFrame
    looks: dict[str, Mark]
    early: pd.DataFrame
    target: float
    layers: dict[str, pd.DataFrame]
    curves: dict[str, pd.Series[float]]
    overlaps: pd.DataFrame

    @property
    def dense(self) -> pd.DataFrame:
        """The row of the dense network, if there is one."""
        rows = self.rows
        return dense_rows(rows[~rows["own_recipe"] & (rows["n"] > 0)]).head(1)

    @property
    def sparse(self) -> pd.DataFrame:
        """The rows that pruned something and finished."""
        return self.rows[(self.rows["target"] > 0) & (self.rows["n"] > 0) & self.rows["accuracy"].notna()]

    @property
    def title_at_target(self) -> str:
        """The title of a figure that shows one target."""
        return f"{escaping.figure(self.title)}, {percentage(self.target)} sparsity"

    def at_target(self, methods: Collection[str]) -> pd.DataFrame:
        """The rows of these methods at the target that is shown."""
        return self.rows[(self.rows["target"] == self.target) & self.rows["method"].isin(list(methods))]

    @cached_property
    def _of_methods(self) -> dict[str, tuple[str, bool]]:
        """The family of each method, and whether its recipe is its own."""
        columns = self.rows[["method", "family", "own_recipe"]].drop_duplicates("method")
        return {method: (family, own) for method, family, own in columns.itertuples(index=False, name=None)}

    def family(self, method: str) -> str:
        """The family of a method; "" if it is not known."""
        return self._of_methods[method][0]

    def name(self, method: str) -> str:
        """A method's name for matplotlib, with a dagger if its recipe is its own."""
        return escaping.figure(method) + " †" * bool(self._of_methods[method][1])


def sentence(*clauses: str) -> str:
    """A caption made of clauses."""
    return "; ".join(clauses) + "."


def seeds(rows: pd.DataFrame) -> str:
    """The number of seeds behind the means of these rows, in words."""
    least, most = int(rows["n"].min()), int(rows["n"].max())
    if most == 1:
        return "of one seed"
    return f"means over {most} seeds" if least == most else f"means over {least} to {most} seeds"


def means(rows: pd.DataFrame) -> str:
    """The same, and what the bars stand for."""
    several = "bars are Student's 95 % intervals, cut off at the edge of a panel"
    return f"{seeds(rows)}, {'without intervals' if rows['n'].max() == 1 else several}"


def dense_words(view: View) -> list[str]:
    """The clause on the dense network, if there is one."""
    if view.dense.empty:
        return []
    band = ", the band its interval" if view.dense["n"].iloc[0] > 1 else ""
    return [f"the dashed line is the dense network{band}"]


def remarks(view: View, rows: pd.DataFrame) -> list[str]:
    """Clauses on daggers, and on methods without a finished run."""
    absent = int((view.rows.groupby("method")["n"].sum() == 0).sum())
    return [
        *(["† is trained with a recipe of its own"] if rows["own_recipe"].any() else []),
        *([f"{counted(absent)} without a finished run left out"] if absent else []),
    ]


def counted(methods: int) -> str:
    """A number of methods, in words."""
    return f"{methods} method{'s' * (methods != 1)}"
