"""Lines in small multiples, named at their ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench.reports.figures.axes import Drawn
from lth_bench.reports.figures.charts import Line, draw_line
from lth_bench.reports.figures.families import panelled
from lth_bench.reports.figures.sheet import Heading, Sheet, panels, share_labels, size, spread
from lth_bench.reports.figures.style import OTHERS, TEXT, Setting, height, in_style, width, wrapped
from lth_bench.results.arrays import Floats

PER_PANEL = 7  # lines
NEAR = 0.75  # share of the x axis; lines that end beyond it are tied to their labels
TIE, MARKER, TEXTS, END = (
    1.1,
    1.7,
    2.5,
    0.6,
)  # em right of a panel: where ties end, markers stand, labels begin; and after
AXIS = 14.0  # em of an axis, at least, where there are several columns


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


@in_style
def lines(chart: Lines, setting: Setting) -> Figure:
    """Small multiples on the same axes: a few methods in colour, named at the right, and the others in grey."""
    families = [line.family if setting.grouped else "" for line in chart.lines]
    groups = panelled(chart.lines, families, PER_PANEL)
    columns, room = _columns(len(groups), chart.lines, setting)
    labels = [[wrapped(line.name, room) for line in group] for _, group in groups]
    sheet = _sheet(columns, room, [sum(map(_tall, named)) for named in labels], [title for title, _ in groups], setting)
    others = [Line2D([], [], color=OTHERS, label="methods of the other panels")] if len(groups) > 1 else []
    heading = Heading(chart.title, [*chart.key, *others])
    figure, all_axes = panels([title for title, _ in groups], sheet, heading, setting)
    for axes, (_, group), named in zip(all_axes, groups, labels, strict=True):
        rest = [np.column_stack([line.x, line.y]) for line in chart.lines if line not in group]
        axes.add_collection(
            LineCollection(rest, colors=OTHERS, linewidths=0.1 * setting.size, zorder=1.5), autolim=False
        )
        chart.reference(axes)
        side_by_side = [
            dataclasses.replace(line, x=line.x * chart.apart ** (place - (len(group) - 1) / 2))
            for place, line in enumerate(group)
        ]
        for line in side_by_side:
            draw_line(axes, line)
        chart.x_axis(axes)
        chart.y_axis(axes)
        _name_ends(axes, list(zip(side_by_side, named, strict=True)), setting)
    share_labels(figure, all_axes, sheet, setting)
    return figure


def _columns(panels: int, lines: Sequence[Line], setting: Setting) -> tuple[int, float]:
    """How many columns of panels leave room for axes, and the em of room for labels."""
    longest = max(width(line.name) for line in lines)
    rooms = {}
    for columns in range(1, min(panels, 4) + 1):
        cell = (setting.room - Sheet.left) / columns
        room = min(longest, max(8.0, 0.4 * cell))
        if columns == 1 or cell - room - TEXTS - END >= AXIS:
            rooms[columns] = room
    return max(rooms.items())


def _sheet(columns: int, room: float, needed: list[float], titles: list[str], setting: Setting) -> Sheet:
    sheet = Sheet(columns, 0.0, right=TEXTS + room + END, above=1.9 if any(titles) else 1.0)
    wanted = 0.62 * sheet.panel(setting)
    lowest, highest = (17.0, 28.0) if len(needed) <= columns else (12.0, 16.0)
    return dataclasses.replace(sheet, height=max(*needed, min(max(wanted, lowest), highest)))


def _tall(label: str) -> float:
    return height(label) + 0.3


def _name_ends(axes: Axes, group: list[tuple[Line, str]], setting: Setting) -> None:
    """Draws labels at the right, near the ends of their lines; dotted lines tie them where they cross nothing."""
    wide, high = size(axes) / setting.size
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = np.clip([to_axes.transform((line.x[-1], line.y[-1])) for line, _ in group], -0.02, 1.02)
    heights: Floats = np.array([_tall(label) for _, label in group])
    places = spread(ends[:, 1] * high, heights, high) / high
    tie, marker, text = (1 + length / wide for length in (TIE, MARKER, TEXTS))
    for (line, label), end, place in zip(group, ends, places, strict=True):
        outside: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False, "gid": line.mark.gid}
        colour = line.mark.colour
        if end[0] > NEAR:
            axes.plot(
                [end[0], tie], [end[1], place], color=colour, linewidth=0.1 * setting.size, linestyle=":", **outside
            )
        axes.plot(marker, place, color=colour, marker=line.mark.marker, markersize=0.6 * setting.size, **outside)
        axes.text(text, place, label, va="center", color=TEXT, linespacing=1.05, **outside)
