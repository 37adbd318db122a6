"""A method's line or point in a figure, with its bounds, and how it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lth_bench.reports.figures.style import DENSE, Mark
from lth_bench.results.arrays import Bools, Floats


@dataclass(frozen=True)
class Line:
    """A method's means with their bounds, in order of x; `hollow` marks those to be read with care."""

    mark: Mark
    name: str
    family: str
    x: Floats
    y: Floats
    lower: Floats
    upper: Floats
    hollow: Bools


def draw_line(axes: Axes, line: Line) -> None:
    """A line with a marker at each point, at some where there are many."""
    mark, x, em = line.mark, line.x, mpl.rcParams["font.size"]
    every = math.ceil(len(x) / 12) if len(x) > 24 else 1
    style: dict[str, Any] = {"color": mark.colour, "linewidth": 0.15 * em, "gid": mark.gid}
    marker: dict[str, Any] = {"marker": mark.marker, "markersize": 0.52 * em, "markeredgewidth": 0.11 * em}
    axes.plot(x, line.y, markevery=every, zorder=3, **marker, **style)
    axes.plot(
        x[line.hollow], line.y[line.hollow], linestyle="", color=mark.colour, markerfacecolor="white", zorder=3.1,
        gid=mark.gid, **marker,
    )  # fmt: skip
    _bars(axes, line, 0.13 * em)


def draw_point(axes: Axes, line: Line) -> None:
    """A marker with its bounds; a thin white edge keeps it apart from others, and a hollow one is white inside."""
    colour, em, hollow = line.mark.colour, mpl.rcParams["font.size"], bool(line.hollow[0])
    axes.plot(
        line.x, line.y, marker=line.mark.marker, markersize=0.7 * em, color=colour, zorder=3, gid=line.mark.gid,
        markerfacecolor="white" if hollow else colour, markeredgecolor=colour if hollow else "white",
        markeredgewidth=0.11 * em if hollow else 0.07 * em,
    )  # fmt: skip
    _bars(axes, line, 0.07 * em)


def _bars(axes: Axes, line: Line, weight: float) -> None:
    bounded, x = np.isfinite(line.lower), line.x
    if bounded.any():
        bars = axes.vlines(
            x[bounded], line.lower[bounded], line.upper[bounded], colors=line.mark.colour, linewidth=weight
        )
        bars.set(gid=line.mark.gid, zorder=2.5)


def dense_line() -> Line2D:
    """The dense network, for keys."""
    return Line2D([], [], color=DENSE, linestyle="--", linewidth=1.1, label="dense")
