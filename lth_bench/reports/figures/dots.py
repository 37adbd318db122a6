"""A row of dots for each method: several measures of it on one axis."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench.reports import escaping
from lth_bench.reports.figures.canvas import Canvas
from lth_bench.reports.figures.sheet import Heading, Sheet, panels
from lth_bench.reports.figures.style import COLOURS, width, wrapped

ROW = 1.7  # em of a method
NAMES = 16.0  # em of methods' names, at most
OPEN = ["o", "s", "D", "^", "v"]


def dots(canvas: Canvas, rows: pd.DataFrame, measures: Mapping[str, str], axis: str, chance: float) -> Figure:
    """Means over the rows of each method of some columns, given with what a key calls them; a line marks `chance`.

    The first measure is filled, the others are hollow.
    """
    methods = canvas.ordered(set(rows["method"]))
    names = [wrapped(escaping.figure(method), NAMES) for method in methods]
    left = max(map(width, names), default=0.0) + 1.5
    sheet = Sheet(1, ROW * len(methods) + 1.0, left=left, above=0.6)
    marks = dict(zip(measures, zip(COLOURS, OPEN, strict=False), strict=False))
    key = [_mark(marks[column], hollow=place > 0, label=said) for place, (column, said) in enumerate(measures.items())]
    figure, (axes,) = panels([""], sheet, Heading(canvas.title, key), canvas.setting)
    means = rows.groupby("method")[list(measures)].mean().reindex(methods)
    for place, column in enumerate(measures):
        look = _mark(marks[column], hollow=place > 0, label="")
        axes.plot(
            means[column], range(len(methods)), linestyle="", marker=look.get_marker(), color=look.get_color(),
            markerfacecolor=look.get_markerfacecolor(), zorder=3 - 0.1 * place,
        )  # fmt: skip
    axes.axvline(chance, color="0.5", linestyle=":", zorder=1)
    axes.set(xlabel=axis, ylim=(len(methods) - 0.5, -0.5))
    axes.set_yticks(range(len(methods)), names)
    return figure


def _mark(look: tuple[str, str], *, hollow: bool, label: str) -> Line2D:
    colour, marker = look
    face = "white" if hollow else colour
    return Line2D([], [], color=colour, marker=marker, linestyle="", markerfacecolor=face, label=label)
