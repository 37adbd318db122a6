"""The sheet of a figure: a grid of panels with a title, a key, and axis labels that the panels share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench.reports.figures.style import POINT, TEXT, Setting, columns, height, width, wrapped
from lth_bench.results.arrays import Floats

MARGIN = 0.4  # em around everything
ROW = 1.55  # em of a row of a legend
LARGE = 1.25  # size of the title, in em


@dataclass(frozen=True)
class Sheet:
    """A grid of panels: its columns, the height of a panel, and the room around it, in em.

    `left` is for ticks and label of the first column, `right` beside every panel, `above` over every panel, `below`
    under the last row, `foot` under all of it.
    """

    columns: int
    height: float
    left: float = 6.0
    right: float = 1.4
    above: float = 1.0
    below: float = 3.6
    foot: float = 0.0

    def panel(self, setting: Setting) -> float:
        """The width of a panel, in em."""
        return (setting.room - self.left) / self.columns - self.right


@dataclass(frozen=True)
class Heading:
    """The title of a figure, and what its key explains."""

    title: str
    key: list[Line2D]


def panels(titles: Sequence[str], sheet: Sheet, heading: Heading, setting: Setting) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each of the titles, row by row, with title and key above them."""
    rows = math.ceil(len(titles) / sheet.columns)
    figure, head = headed(heading, rows * (sheet.above + sheet.height) + sheet.below + sheet.foot, setting)
    wide, (_, high) = sheet.panel(setting), figure.get_size_inches() / setting.em
    all_axes = []
    for place, title in enumerate(titles):
        row, column = divmod(place, sheet.columns)
        left = sheet.left + column * (wide + sheet.right)
        lower = high - head - (row + 1) * (sheet.above + sheet.height)
        all_axes.append(placed_axes(figure, (left, lower, wide, sheet.height), setting))
        all_axes[-1].set_title(title, loc="left", pad=0.25 * setting.size, fontweight="bold", color=TEXT)
    return figure, all_axes


def headed(heading: Heading, body: float, setting: Setting) -> tuple[Figure, float]:
    """A figure with room for a body of so many em under its title and key; and the em that these take."""
    title = wrapped(heading.title, (setting.room - 2 * MARGIN) / LARGE) if setting.titled else ""
    for handle in heading.key:
        handle.set_label(wrapped(str(handle.get_label()), setting.room - 6))
    labels = [str(handle.get_label()) for handle in heading.key]
    ncols = columns(labels, setting.room) if labels else 1
    lines = max((height(label) / 1.25 for label in labels), default=1.0)
    above = MARGIN + (height(title) * LARGE + 0.2 if title else 0.0)
    head = above + math.ceil(len(labels) / ncols) * ROW * lines + 0.4 * bool(labels)
    high = head + body
    figure = Figure(figsize=(setting.width, high * setting.em))
    if title:
        place = (MARGIN / setting.room, 1 - MARGIN / high)
        figure.text(*place, title, size=LARGE * setting.size, va="top", color=TEXT, linespacing=1.1)
    if labels:
        figure.legend(
            handles=heading.key, loc="upper left", bbox_to_anchor=(MARGIN / setting.room, 1 - above / high),
            ncols=ncols, frameon=False, borderpad=0, borderaxespad=0,
        )  # fmt: skip
    return figure, head


def placed_axes(figure: Figure, box: tuple[float, float, float, float], setting: Setting) -> Axes:
    """Axes with their left and lower edge, width and height in em."""
    wide, high = figure.get_size_inches() / setting.em
    return figure.add_axes((box[0] / wide, box[1] / high, box[2] / wide, box[3] / high))


def share_labels(figure: Figure, all_axes: list[Axes], sheet: Sheet, setting: Setting) -> None:
    """Panels on the same axes: ticks at the outer ones alone, and one label for each direction."""
    (wide, high), label = figure.get_size_inches() / setting.em, all_axes[0].get_xlabel()
    boxes = np.array([axes.get_position().extents for axes in all_axes])
    middle = (boxes[:, :2].min(axis=0) + boxes[:, 2:].max(axis=0)) / 2
    upright = all_axes[0].get_ylabel()
    for place, axes in enumerate(all_axes):
        axes.set(xlabel="", ylabel="")
        axes.tick_params(labelleft=place % sheet.columns == 0, labelbottom=place + sheet.columns >= len(all_axes))
    x = min(middle[0], 1 - (MARGIN + 0.5 * width(label)) / wide)
    figure.text(x, (sheet.foot + MARGIN) / high, label, ha="center", va="bottom")
    figure.text(MARGIN / wide, middle[1], upright, ha="left", va="center", rotation=90)


def size(axes: Axes) -> Floats:
    """The width and height of a panel, in points."""
    return np.array(axes.get_window_extent().size) / axes.figure.dpi / POINT


def spread(targets: Floats, heights: Floats, room: float) -> Floats:
    """Places near the targets where things of these heights do not overlap, inside the room if it is large enough."""
    ranks = np.argsort(targets, kind="stable")
    ordered = heights[ranks]
    feet = np.cumsum(ordered) - ordered / 2
    over = targets[ranks] - feet
    upwards, downwards = np.maximum.accumulate(over), np.minimum.accumulate(over[::-1])[::-1]
    places = np.empty_like(feet)
    places[ranks] = feet + np.maximum(0, np.minimum((upwards + downwards) / 2, room - heights.sum()))
    return places
