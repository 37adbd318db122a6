"""Points by cost and accuracy, with their Pareto front."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench.reports.figures.axes import Drawn
from lth_bench.reports.figures.charts import Line, draw_point
from lth_bench.reports.figures.families import panelled
from lth_bench.reports.figures.labels import Label, around, placed
from lth_bench.reports.figures.lines import PER_PANEL
from lth_bench.reports.figures.sheet import ROW, Heading, Sheet, panels, share_labels, size
from lth_bench.reports.figures.style import TEXT, Setting, columns, height, in_style, width, wrapped
from lth_bench.results.arrays import Bools, Floats

TIED = 1.1  # em; a label farther from its point is tied to it by a line
LABELS = 11.0  # em of room for a line of a label


@dataclass(frozen=True)
class Points:
    """Methods by cost and accuracy in one panel; only those that `compete` can be on the Pareto front."""

    title: str
    lines: list[Line]
    competes: Bools

    @property
    def x(self) -> Floats:
        return np.array([line.x[0] for line in self.lines])

    @property
    def y(self) -> Floats:
        return np.array([line.y[0] for line in self.lines])


@dataclass(frozen=True)
class Pareto:
    """Panels of points on the same axes; `reference` draws the dense network."""

    title: str
    panels: list[Points]
    reference: Drawn
    x_axis: Drawn
    y_axis: Drawn
    key: list[Line2D]


@in_style
def pareto(chart: Pareto, setting: Setting) -> Figure:
    """Points, the front as a step line with labels for its methods where there is room, and a legend of all below."""
    handles = _handles(chart, setting)
    ncols = columns([str(handle.get_label()) for handle in handles], setting.room)
    rows = math.ceil(len(handles) / ncols)
    tallest = max(height(str(handle.get_label())) / 1.25 for handle in handles)
    sheet = Sheet(len(chart.panels), 0.0, above=1.9, foot=rows * tallest * ROW + 0.8)
    sheet = dataclasses.replace(sheet, height=min(max(sheet.panel(setting), 17.0), 23.0))
    figure, all_axes = panels([part.title for part in chart.panels], sheet, Heading(chart.title, chart.key), setting)
    legend = figure.legend(
        handles=handles, ncols=ncols, loc="lower center", frameon=False, borderaxespad=0.3, borderpad=0.1
    )
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        text.set_fontweight("normal" if handle.get_gid() else "bold")
    for axes, part in zip(all_axes, chart.panels, strict=True):
        chart.reference(axes)
        for line in part.lines:
            draw_point(axes, line)
        chart.x_axis(axes)
        chart.y_axis(axes)
        _front(axes, part, setting)
    share_labels(figure, all_axes, sheet, setting)
    return figure


def _handles(chart: Pareto, setting: Setting) -> list[Line2D]:
    """A handle for every method, below those that name families where there are many methods."""
    marked = {line.mark.gid: line for part in chart.panels for line in part.lines}
    lines = sorted(marked.values(), key=lambda line: line.mark.number)
    families = [line.family if setting.grouped else "" for line in lines]
    handles: list[Line2D] = []
    for title, part in panelled(lines, families, PER_PANEL):
        if title and title not in (handle.get_label() for handle in handles):
            handles.append(Line2D([], [], linestyle="", label=title))
        handles += [_handle(line, setting) for line in part]
    return handles


def _handle(line: Line, setting: Setting) -> Line2D:
    return Line2D(
        [], [], color=line.mark.colour, marker=line.mark.marker, markersize=0.7 * setting.size, linestyle="",
        label=wrapped(line.name, setting.room - 6), gid=line.mark.gid,
    )  # fmt: skip


def front(x: Floats, y: Floats) -> list[int]:
    """The indices of the points that no other beats in both (low x, high y), in order of x."""
    best, best_places = -math.inf, []
    for place in np.lexsort((-y, x)):
        if y[place] > best:
            best = float(y[place])
            best_places.append(int(place))
    return best_places


def _front(axes: Axes, part: Points, setting: Setting) -> None:
    eligible = np.flatnonzero(part.competes)
    best = [int(eligible[place]) for place in front(np.log(part.x[eligible]).round(2), part.y[eligible])]
    if not best:
        return
    x, y = [*part.x[best], axes.get_xlim()[1]], [*part.y[best], part.y[best[-1]]]
    axes.plot(x, y, drawstyle="steps-post", color="0.45", linewidth=0.12 * setting.size, zorder=2, gid="front")
    for place, label in _names(axes, part, best, np.column_stack([x, y]), setting):
        _beside(axes, part.lines[place], label, setting)


def _names(axes: Axes, part: Points, best: list[int], steps: Floats, setting: Setting) -> list[tuple[int, Label]]:
    """Labels of those methods of the front for which there is room."""
    to_axes, room, em = axes.transData + axes.transAxes.inverted(), size(axes), setting.size
    points = to_axes.transform(np.column_stack([part.x, part.y])) * room
    line = to_axes.transform(steps) * room
    bounds = ([line.lower[0] for line in part.lines], [line.upper[0] for line in part.lines])
    lows, highs = (to_axes.transform(_bounded(ends, part)) * room for ends in bounds)
    taken = [
        *(around(point, point, 0.4 * em) for point in points),
        *(around(one, np.array([two[0], one[1]]), 0.15 * em) for one, two in itertools.pairwise(line)),
        *(around(np.array([two[0], one[1]]), two, 0.15 * em) for one, two in itertools.pairwise(line)),
        *(around(low, high, 0.1 * em) for low, high in zip(lows, highs, strict=True)),
        *(box for level in axes.lines if level.get_gid() == "dense" for box in _level(axes, level)),
    ]
    named = [(points[place], wrapped(part.lines[place].name, LABELS)) for place in best]
    labels = placed([(point, _box(text, em), text) for point, text in named], taken, room, em)
    return [(place, label) for place, label in zip(best, labels, strict=True) if label]


def _level(axes: Axes, line: Line2D) -> list[Floats]:
    ends = axes.transAxes.inverted().transform(line.get_transform().transform(line.get_xydata())) * size(axes)
    return [around(ends[0], ends[-1], 1.0)]


def _bounded(bounds: list[float], part: Points) -> Floats:
    return np.column_stack([part.x, np.where(np.isnan(bounds), part.y, bounds)])


def _box(label: str, em: float) -> Floats:
    return np.array([width(label) + 0.2, height(label)]) * em


def _beside(axes: Axes, line: Line, label: Label, setting: Setting) -> None:
    room = size(axes)
    nearest = label.nearest
    if np.hypot(*(nearest - label.point)) > TIED * setting.size:
        tie = np.array([label.point, nearest]) / room
        axes.plot(
            *tie.T, color="0.45", linewidth=0.07 * setting.size, transform=axes.transAxes, zorder=2, gid=line.mark.gid
        )
    x, y = (label.corner + np.array([0.0, label.box[1] / 2])) / room
    axes.text(
        x, y, label.text, va="center", color=TEXT, zorder=5, linespacing=1.05, transform=axes.transAxes,
        gid=line.mark.gid,
    )  # fmt: skip
