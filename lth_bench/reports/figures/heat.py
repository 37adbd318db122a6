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
from lth_bench.reports.figures.style import LINE, TEXT, Setting, height, in_style, width, wrapped

ANNOTATED = 12  # columns up to which cells hold numbers
BAR = 18.0  # em of a colour bar
FOOT = 6.2  # em of a colour bar with its ticks and its label, and of the room around it
GAP = 1.2  # em between a name and its cells, and beside panels
NAMES = 16.0  # em for a line of a name where panels stand side by side
ABOVE = 1.9  # em for the title of a panel
LARGEST = (2.4, 5.0)  # em of a cell without and with a number
APART = 0.4  # em between panels without titles


@dataclass(frozen=True)
class Heat:
    """Values by method, the labels of methods and columns, the texts in cells (may be empty), and the colours.

    `parts` are the panels, each a title and its methods; `numbers` stand behind names, and `spans` name successive
    methods at the right, each with their count. `crosses` marks cells.
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
    numbers: dict[str, str] = field(default_factory=dict)
    spans: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Grid:
    """Columns of panels, and in em the room for names, the width of cells, the room beside cells, and the margin."""

    columns: int
    names: float
    cell: float
    beside: float
    margin: float

    def left(self, column: int, count: int) -> float:
        """The left edge of the cells in a column of panels with so many cells a row."""
        return self.margin + column * (self.names + 2 * GAP + self.cell * count + self.beside) + self.names + GAP

    @property
    def every(self) -> int:
        """Every which column of cells has a label, so that upright ones do not touch."""
        return math.ceil(1.35 / self.cell)


@dataclass(frozen=True)
class Panel:
    """A panel with its methods, their labels, and in em the room for its title and the height of its cells."""

    title: str
    methods: list[str]
    labels: list[str]

    @property
    def above(self) -> float:
        return ABOVE if self.title else APART

    @property
    def tall(self) -> float:
        return len(self.labels) * (max(map(height, self.labels)) + 0.25)


@in_style
def heat(chart: Heat, setting: Setting) -> Figure:
    """A heat map; cells that hold no value are grey, some are crossed."""
    grid, widest = _grid(chart, setting), max(map(width, chart.columns))
    upright = widest + 0.6 > grid.cell * grid.every
    parts = [Panel(title, rows, [_label(chart, row, grid.names) for row in rows]) for title, rows in chart.parts]
    stacks = _stacked(parts, grid.columns)
    body = max(sum(part.above + part.tall for part in stack) for stack in stacks)
    foot = (widest if upright else LINE) + 0.8 + FOOT
    figure, _ = headed(Heading(chart.title, []), body + foot, setting)
    for column, stack in enumerate(stacks):
        lower = body + foot
        for part in stack:
            lower -= part.above + part.tall
            box = (grid.left(column, len(chart.columns)), lower, grid.cell * len(chart.columns), part.tall)
            axes = placed_axes(figure, box, setting)
            axes.set_title(part.title, loc="left", pad=0.25 * setting.size, fontweight="bold", color=TEXT)
            _cells(axes, chart, part, grid)
            _name_spans(axes, chart, grid)
            _name_columns(axes, chart, grid, upright, part is stack[-1])
    _bar(figure, chart, _middle(chart, grid), setting)
    return figure


def _grid(chart: Heat, setting: Setting) -> Grid:
    count, room = len(chart.columns), setting.room - 2 * MARGIN
    texts = chart.texts.to_numpy().ravel()
    least = max(map(width, texts)) + 0.5 if texts.size else min(0.6, 16 / count)
    beside = max((width(name) + 1.0 for name, _ in chart.spans), default=0.0)
    longest = max(width(_label(chart, method, math.inf)) for method in chart.names)
    needed = GAP + least * count + beside
    columns = max(1, min(int((room + GAP) / (min(longest, NAMES) + needed + GAP)), len(chart.parts)))
    share = (room + GAP) / columns - GAP
    names = min(longest, max(9.0, share - needed))
    cell = min((share - names - GAP - beside) / count, LARGEST[bool(texts.size)])
    used = names + GAP + cell * count + beside
    return Grid(columns, names, cell, beside, MARGIN + (room - columns * used - (columns - 1) * GAP) / 2)


def _label(chart: Heat, method: str, room: float) -> str:
    """The name of a method, and its number if it has one."""
    number = f"   {chart.numbers[method]}" if chart.numbers else ""
    return wrapped(chart.names[method], room - width(number or " ")) + number


def _stacked(parts: list[Panel], columns: int) -> list[list[Panel]]:
    """Panels in columns of about one height, one after the other."""
    heights = np.array([part.above + part.tall for part in parts])
    middles = np.cumsum(heights) - heights / 2
    places = np.minimum((middles / heights.sum() * columns).astype(int), columns - 1)
    return [[parts[place] for place in np.flatnonzero(places == column)] for column in range(columns)]


def _cells(axes: Axes, chart: Heat, part: Panel, grid: Grid) -> None:
    values = chart.values.loc[part.methods]
    sns.heatmap(
        values, ax=axes, cbar=False, norm=chart.norm, cmap="viridis", mask=values.isna(),
        annot=chart.texts.loc[part.methods] if chart.texts.size else None, fmt="", annot_kws={"size": "medium"},
        rasterized=chart.values.size > 3000, linewidths=0.5 if grid.cell > 0.9 else 0,
        xticklabels=False, yticklabels=False,
    )  # fmt: skip
    axes.set(facecolor="0.9", xlabel="", ylabel="")
    axes.grid(False)
    axes.set_yticks(np.arange(len(part.labels)) + 0.5, part.labels)
    axes.tick_params(length=0)
    for text, method in zip(axes.get_yticklabels(), part.methods, strict=True):
        text.set(gid=chart.gids[method], linespacing=1.0)
    if chart.crosses.size:
        down, across = np.nonzero(chart.crosses.loc[part.methods].to_numpy(dtype=bool))
        axes.plot(across + 0.5, down + 0.5, linestyle="", marker="x", color="white", markersize=4, gid="collapsed")


def _name_spans(axes: Axes, chart: Heat, grid: Grid) -> None:
    """Names of families at the right of their methods, and white lines between families."""
    last = 0
    for name, number in chart.spans:
        axes.text(len(chart.columns) + 0.5 / grid.cell, last + number / 2, name, va="center", color=TEXT)
        axes.axhline(last, color="white", linewidth=2)
        axes.axvline(last, color="white", linewidth=2)
        last += number


def _name_columns(axes: Axes, chart: Heat, grid: Grid, upright: bool, lowest: bool) -> None:
    labels = chart.columns[:: grid.every] if lowest else []
    places = np.arange(len(labels)) * grid.every + 0.5
    axes.set_xticks(places, labels, rotation=90 if upright else 0)


def _middle(chart: Heat, grid: Grid) -> float:
    """The middle of all cells."""
    count = len(chart.columns)
    return (grid.left(0, count) + grid.left(grid.columns - 1, count) + grid.cell * count) / 2


def _bar(figure: Figure, chart: Heat, middle: float, setting: Setting) -> None:
    """A colour bar at the foot, with its label below."""
    wide = min(BAR, setting.room - 6)
    half = max(wide + 4, width(chart.label)) / 2
    middle = min(max(middle, half + MARGIN), setting.room - half - MARGIN)
    bar = placed_axes(figure, (middle - wide / 2, FOOT - 1.9, wide, 0.8), setting)
    figure.colorbar(ScalarMappable(chart.norm, colormaps["viridis"]), cax=bar, orientation="horizontal")
    bar.xaxis.set_major_locator(FixedLocator(list(chart.ticks)))
    bar.xaxis.set_minor_locator(NullLocator())
    bar.set_xticklabels(chart.ticks.values())
    bar.set_xlabel(chart.label)
    bar.grid(False)
