"""Figures from plain data: lines in small multiples, and points with their Pareto front."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench.reports.figures.axes import Drawn
from lth_bench.reports.figures.labels import Label, around, placed
from lth_bench.reports.figures.style import (
    DENSE,
    LINE,
    OTHERS,
    POINT,
    TEXT,
    Mark,
    Sheet,
    in_style,
    panels,
    spread,
    width,
)
from lth_bench.results.arrays import Bools, Floats

PER_PANEL = 7  # lines
SMALL = 7.5  # points
TIED = 9  # points; a label farther from its point is tied to it by a line
TEXTS = 1.085  # where labels begin, as a share of the x axis
NEAR = 0.75  # share of the x axis; lines that end beyond it are tied to their labels


@dataclass(frozen=True)
class Line:
    """A method's means with their bounds, in order of x; `hollow` marks those to be read with care.

    `label` stands beside the line, wrapped to its room; `name` stands in legends.
    """

    mark: Mark
    name: str
    label: str
    x: Floats
    y: Floats
    lower: Floats
    upper: Floats
    hollow: Bools


@dataclass(frozen=True)
class Lines:
    """Lines in panels, each panel with all other lines in grey; `reference` draws the dense network.

    `apart` is the factor between the x of neighbours in a panel, so that they do not hide each other.
    """

    title: str
    lines: list[Line]
    reference: Drawn
    x_axis: Drawn
    y_axis: Drawn
    key: list[Line2D]
    apart: float = 1.0


LABELS = 18.0  # em of room for the label of a line
REACH = 2.95  # inches of an x axis, at least


@in_style
def lines(chart: Lines) -> Figure:
    """Small multiples on the same axes: a few methods in colour, named at the right, and the others in grey."""
    groups = _groups(chart.lines)
    size = Sheet(2, REACH, 2.4, top=0.12) if len(groups) > 1 else Sheet(1, 5.2, 3.4, top=0.12)
    right = (TEXTS - 1) * size.width + max(width(line.label) for line in chart.lines) * SMALL * POINT + 0.1
    sheet = dataclasses.replace(size, right=right)
    others = [Line2D([], [], color=OTHERS, label="methods of the other panels")] if len(groups) > 1 else []
    figure, all_axes = panels(len(groups), sheet, chart.title, [*chart.key, *others])
    for axes, group in zip(all_axes, groups, strict=True):
        rest = [np.column_stack([line.x, line.y]) for line in chart.lines if line not in group]
        axes.add_collection(LineCollection(rest, colors=OTHERS, linewidths=0.9, zorder=1.5), autolim=False)
        chart.reference(axes)
        side_by_side = [
            dataclasses.replace(line, x=line.x * chart.apart ** (place - (len(group) - 1) / 2))
            for place, line in enumerate(group)
        ]
        for line in side_by_side:
            _line(axes, line)
        chart.x_axis(axes)
        chart.y_axis(axes)
        _name_ends(axes, side_by_side)
    return figure


def _groups(lines: list[Line]) -> list[list[Line]]:
    """Lines in as few panels as hold them: an even number of panels, filled evenly."""
    count = math.ceil(len(lines) / PER_PANEL) if len(lines) > PER_PANEL + 1 else 1
    count += count > 1 and count % 2
    return [[lines[place] for place in part] for part in np.array_split(np.arange(len(lines)), count)]


def _line(axes: Axes, line: Line) -> None:
    mark, x = line.mark, line.x
    every = math.ceil(len(x) / 12) if len(x) > 24 else 1
    style: dict[str, Any] = {"color": mark.colour, "linewidth": 1.3, "gid": mark.gid}
    axes.plot(x, line.y, marker=mark.marker, markersize=4.5, markevery=every, markeredgewidth=0.9, zorder=3, **style)
    axes.plot(
        x[line.hollow], line.y[line.hollow], linestyle="", color=mark.colour, marker=mark.marker, markersize=4.5,
        markerfacecolor="white", markeredgewidth=0.9, zorder=3.1, gid=mark.gid,
    )  # fmt: skip
    _bars(axes, line, 1.1)


def _bars(axes: Axes, line: Line, weight: float) -> None:
    bounded, x = np.isfinite(line.lower), line.x
    if bounded.any():
        bars = axes.vlines(
            x[bounded], line.lower[bounded], line.upper[bounded], colors=line.mark.colour, linewidth=weight
        )
        bars.set(gid=line.mark.gid, zorder=2.5)


def _point(axes: Axes, line: Line) -> None:
    colour, face = line.mark.colour, "white" if line.hollow[0] else line.mark.colour
    axes.plot(
        line.x, line.y, marker=line.mark.marker, markersize=5, color=colour, markerfacecolor=face, markeredgewidth=0.9,
        zorder=3, gid=line.mark.gid,
    )  # fmt: skip
    _bars(axes, line, 0.6)


def _name_ends(axes: Axes, group: list[Line]) -> None:
    """Draws labels at the right, near the ends of their lines; dotted lines tie them where they cross nothing."""
    height = float(_size(axes)[1])
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = np.clip([to_axes.transform((line.x[-1], line.y[-1])) for line in group], -0.02, 1.02)
    heights = np.array([(line.label.count("\n") + 1) * SMALL * LINE + 2 for line in group])
    places = spread(ends[:, 1] * height, heights, height) / height
    for line, end, place in zip(group, ends, places, strict=True):
        outside: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False, "gid": line.mark.gid}
        if end[0] > NEAR:
            axes.plot([end[0], 1.045], [end[1], place], color=line.mark.colour, linewidth=0.8, linestyle=":", **outside)
        axes.plot(1.06, place, color=line.mark.colour, marker=line.mark.marker, markersize=4.5, **outside)
        axes.text(TEXTS, place, line.label, size=SMALL, va="center", color=TEXT, linespacing=1.05, **outside)


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
def pareto(chart: Pareto) -> Figure:
    """Points, the front as a step line with labels for its methods, and a legend of all methods below."""
    legend = {line.mark.gid: line for part in chart.panels for line in part.lines}
    handles = [
        Line2D([], [], color=line.mark.colour, marker=line.mark.marker, linestyle="", label=line.name)
        for line in sorted(legend.values(), key=lambda line: line.mark.number)
    ]
    columns = 1 if len(chart.panels) == 1 else 3 if len(chart.panels) == 3 else 2
    sheet = Sheet(columns, (6.0, 4.2, 2.85)[columns - 1], 3.1)
    room = columns * (sheet.left + sheet.width + sheet.right) / POINT / 8
    ncols = max(1, min(5, int(room / (3.5 + max(width(str(handle.get_label())) for handle in handles)))))
    foot = (math.ceil(len(handles) / ncols) * 1.5 + 1) * 8 * POINT
    figure, all_axes = panels(
        len(chart.panels), Sheet(columns, sheet.width, sheet.height, foot=foot), chart.title, chart.key
    )
    figure.legend(handles=handles, ncols=ncols, loc="lower center", frameon=False, borderaxespad=0.2)
    for axes, part in zip(all_axes, chart.panels, strict=True):
        axes.set_title(part.title, pad=3)
        chart.reference(axes)
        for line in part.lines:
            _point(axes, line)
        chart.x_axis(axes)
        chart.y_axis(axes)
        _front(axes, part)
    return figure


def front(x: Floats, y: Floats) -> list[int]:
    """The indices of the points that no other beats in both (low x, high y), in order of x."""
    best, best_places = -math.inf, []
    for place in np.lexsort((-y, x)):
        if y[place] > best:
            best = float(y[place])
            best_places.append(int(place))
    return best_places


def _front(axes: Axes, part: Points) -> None:
    eligible = np.flatnonzero(part.competes)
    best = [int(eligible[place]) for place in front(np.log(part.x[eligible]).round(2), part.y[eligible])]
    if not best:
        return
    x, y = [*part.x[best], axes.get_xlim()[1]], [*part.y[best], part.y[best[-1]]]
    axes.plot(x, y, drawstyle="steps-post", color="0.45", linewidth=1.0, zorder=2, gid="front")
    for place, name in zip(best, _names(axes, part, best, np.column_stack([x, y])), strict=True):
        _beside(axes, part.lines[place], name)


def _names(axes: Axes, part: Points, best: list[int], steps: Floats) -> list[Label]:
    """Labels of the front, placed where they cover as little as possible."""
    to_axes, size = axes.transData + axes.transAxes.inverted(), _size(axes)
    points = to_axes.transform(np.column_stack([part.x, part.y])) * size
    line = to_axes.transform(steps) * size
    bounds = ([line.lower[0] for line in part.lines], [line.upper[0] for line in part.lines])
    lows, highs = (to_axes.transform(_bounded(ends, part)) * size for ends in bounds)
    taken = [
        *(around(point, point, 4) for point in points),
        *(around(one, np.array([two[0], one[1]]), 2) for one, two in itertools.pairwise(line)),
        *(around(np.array([two[0], one[1]]), two, 2) for one, two in itertools.pairwise(line)),
        *(around(low, high, 0.5) for low, high in zip(lows, highs, strict=True)),
    ]
    return placed([(points[place], _box(part.lines[place].label)) for place in best], taken, size)


def _size(axes: Axes) -> Floats:
    """The width and height of a panel, in points."""
    return np.array(axes.get_window_extent().size) / axes.figure.dpi / POINT


def _bounded(bounds: list[float], part: Points) -> Floats:
    return np.column_stack([part.x, np.where(np.isnan(bounds), part.y, bounds)])


def _box(label: str) -> Floats:
    return np.array([width(label) * SMALL + 2, (label.count("\n") + 1) * SMALL * LINE])


def _beside(axes: Axes, line: Line, name: Label) -> None:
    size = _size(axes)
    nearest = np.clip(name.point, name.corner, name.corner + name.box)
    if np.hypot(*(nearest - name.point)) > TIED:
        tie = np.array([name.point, nearest]) / size
        axes.plot(*tie.T, color="0.45", linewidth=0.6, transform=axes.transAxes, zorder=2, gid=line.mark.gid)
    x, y = (name.corner + np.array([0.0, name.box[1] / 2])) / size
    axes.text(
        x, y, line.label, size=SMALL, va="center", color=TEXT, zorder=5, linespacing=1.05, transform=axes.transAxes,
        gid=line.mark.gid, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.2},
    )  # fmt: skip


def dense_line() -> Line2D:
    """The dense network, for keys."""
    return Line2D([], [], color=DENSE, linestyle="--", linewidth=1.1, label="dense")
