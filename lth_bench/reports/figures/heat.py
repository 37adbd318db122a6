"""Heat maps of methods by columns, in panels that share their columns and one colour bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lth_bench.reports.figures.sheet import MARGIN, Heading, headed, placed_axes
from lth_bench.reports.figures.style import TEXT, Setting, height, in_style, width, wrapped
from lth_bench.results.arrays import Bools

ANNOTATED = 12  # columns up to which cells hold numbers
BAR = 18.0  # em of a colour bar
FOOT = 6.2  # em of a colour bar with its ticks and its label, and of the room around it
GAP = 1.2  # em between a name and its cells, and beside panels
NAMES = 16.0  # em for a line of a name where panels stand side by side
ABOVE = 1.9  # em for the title of a panel
LARGEST = (2.4, 5.0)  # em of a cell without and with a number
LEAST = 0.3  # em of a cell


@dataclass(frozen=True)
class Heat:
    """Values by method, the labels of methods and columns, the texts in cells (may be empty), and the colours.

    `parts` are the panels, each a title and its methods; `spans` names successive methods of a family at the right,
    with their number. `crosses` marks cells.
    """

    title: str
    values: pd.DataFrame
    names: dict[str, str]
    gids: dict[str, str]
    columns: list[str]
    texts: pd.DataFrame
    norm: Normalize
    label: str
    ticks: dict[float, str]
    parts: Sequence[tuple[str, list[str]]]
    crosses: pd.DataFrame
    spans: Sequence[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Grid:
    """Columns of panels, and in em the room for names, the size of cells, and the room for the names of spans."""

    columns: int
    names: float
    cell: float
    row: float
    spans: float

    def wide(self, count: int) -> float:
        """The width of a panel of so many cells with its names."""
        return self.names + GAP + self.cell * count + self.spans


@in_style
def heat(chart: Heat, setting: Setting) -> Figure:
    """A heat map; cells that hold no value are grey, some are crossed."""
    grid, count = _grid(chart, setting), len(chart.columns)
    upright = max(map(width, chart.columns)) + 0.6 > grid.cell * _every(chart, grid)
    labels = (max(map(width, chart.columns)) if upright else 1.2) + 0.8
    heights = [ABOVE * bool(title) + 0.4 + len(rows) * grid.row for title, rows in chart.parts]
    places = _stacked(heights, grid.columns)
    body = max(upper + tall for (_, upper), tall in zip(places, heights, strict=True))
    figure, head = headed(Heading(chart.title, []), body + labels + FOOT, setting)
    high = figure.get_size_inches()[1] / setting.em
    margin = max(0.0, (setting.room - grid.columns * grid.wide(count) - (grid.columns - 1) * GAP) / 2)
    for (column, upper), tall, (title, rows) in zip(places, heights, chart.parts, strict=True):
        left = margin + column * (grid.wide(count) + GAP) + grid.names + GAP
        box = (left, high - head - upper - tall, grid.cell * count, len(rows) * grid.row)
        axes = placed_axes(figure, box, setting)
        axes.set_title(title, loc="left", pad=0.25 * setting.size, fontweight="bold", color=TEXT)
        _cells(axes, chart, rows, grid)
        lowest = (column, upper + tall) == max(
            (other, end + size) for (other, end), size in zip(places, heights, strict=True) if other == column
        )
        _label_columns(axes, chart, grid, lowest, upright)
    middle = margin + grid.names + GAP + grid.cell * count / 2 if grid.columns == 1 else setting.room / 2
    _bar(figure, chart, middle, setting)
    return figure


def _grid(chart: Heat, setting: Setting) -> Grid:
    count, room = len(chart.columns), setting.room - 2 * MARGIN
    texts = chart.texts.to_numpy().ravel()
    least = max(map(width, texts)) + 0.5 if texts.size else LEAST
    spans = max((width(name) + 1.0 for name, _ in chart.spans), default=0.0)
    longest = max(map(width, chart.names.values()))
    side_by_side = int((room + GAP) / (min(longest, NAMES) + GAP + least * count + spans + GAP))
    columns = max(1, min(side_by_side, len(chart.parts)))
    names = min(longest, NAMES) if columns > 1 else min(longest, max(9.0, room - least * count - GAP - spans))
    free = (room + GAP) / columns - GAP - names - GAP - spans
    lines = max(height(wrapped(name, names)) for name in chart.names.values())
    return Grid(columns, names, min(free / count, LARGEST[bool(texts.size)]), lines + 0.25, spans)


def _every(chart: Heat, grid: Grid) -> int:
    """Every which column has a label, so that upright ones do not touch."""
    return math.ceil(1.35 / grid.cell)


def _stacked(heights: list[float], columns: int) -> list[tuple[int, float]]:
    """The column and the upper edge of panels that fill columns of about one height, one after the other."""
    middles = np.cumsum(heights) - np.array(heights) / 2
    used = [0.0] * columns
    places = []
    for middle, tall in zip(middles, heights, strict=True):
        column = min(columns - 1, int(middle / (sum(heights) / columns)))
        places.append((column, used[column]))
        used[column] += tall
    return places


def _cells(axes: Axes, chart: Heat, rows: list[str], grid: Grid) -> None:
    values = chart.values.loc[rows]
    sns.heatmap(
        values, ax=axes, cbar=False, norm=chart.norm, cmap="viridis", mask=values.isna(),
        annot=chart.texts.loc[rows] if chart.texts.size else None, fmt="", annot_kws={"size": "medium"},
        rasterized=chart.values.size > 3000, linewidths=0.5 if grid.cell > 0.9 else 0, xticklabels=False, yticklabels=False,
    )  # fmt: skip
    axes.set(facecolor="0.9", xlabel="", ylabel="")
    axes.grid(False)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [wrapped(chart.names[name], grid.names) for name in rows])
    axes.tick_params(length=0)
    for text, method in zip(axes.get_yticklabels(), rows, strict=True):
        text.set(gid=chart.gids[method], linespacing=1.0)
    crosses: Bools = chart.crosses.loc[rows].to_numpy(dtype=bool) if chart.crosses.size else np.zeros((0, 0), bool)
    down, across = np.nonzero(crosses)
    axes.plot(across + 0.5, down + 0.5, linestyle="", marker="x", color="white", markersize=4, gid="collapsed")
    last = 0
    for name, number in chart.spans:
        middle = last + number / 2
        axes.text(len(chart.columns) + 0.5 / grid.cell, middle, name, va="center", color=TEXT)
        last += number
        if last < len(rows):
            axes.axhline(last, color="white", linewidth=2)
            axes.axvline(last, color="white", linewidth=2)


def _label_columns(axes: Axes, chart: Heat, grid: Grid, lowest: bool, upright: bool) -> None:
    every = _every(chart, grid)
    labels = chart.columns[::every] if lowest else []
    axes.set_xticks(np.arange(0, len(chart.columns), every)[: len(labels)] + 0.5, labels, rotation=90 if upright else 0)


def _bar(figure: Figure, chart: Heat, middle: float, setting: Setting) -> None:
    """A colour bar at the foot, with its label below."""
    wide = min(BAR, setting.room - 6)
    half = max(wide, width(chart.label)) / 2
    middle = min(max(middle, half + MARGIN), setting.room - half - MARGIN)
    bar = placed_axes(figure, (middle - wide / 2, FOOT - 1.9, wide, 0.8), setting)
    figure.colorbar(ScalarMappable(chart.norm, colormaps["viridis"]), cax=bar, orientation="horizontal")
    bar.xaxis.set_major_locator(FixedLocator(list(chart.ticks)))
    bar.xaxis.set_minor_locator(NullLocator())
    bar.set_xticklabels(chart.ticks.values())
    bar.set_xlabel(chart.label)
    bar.grid(False)
