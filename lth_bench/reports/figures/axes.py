"""Axes of figures: accuracy by its error, sparsity by the weights left, costs, steps and counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from lth_bench.reports.figures.sheet import size
from lth_bench.reports.figures.style import LINE, width
from lth_bench.reports.numbers import distinct_percents
from lth_bench.results.arrays import Floats

Drawn = Callable[[Axes], None]
"""What is done to each panel of a figure."""

NICE = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


def nice(lower: float, upper: float, most: int = 9) -> list[float]:
    """Round numbers between two bounds of a logarithmic axis: at most `most`, and at least three."""
    decades = range(math.floor(math.log10(lower)), math.ceil(math.log10(upper)) + 1)
    fitting: list[float] = []
    for digits in NICE:
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        ticks = [value for value in ticks if lower <= value <= upper]
        if len(ticks) > most:
            break
        fitting = ticks
    if len(fitting) >= 3:
        return fitting
    even = MaxNLocator(5).tick_values(lower, upper)
    return [float(value) for value in even if lower <= value <= upper and value > 0]


def positive(values: Floats) -> Floats:
    """The values, with half the least positive one in place of those that have no logarithm."""
    least = np.min(values[values > 0], initial=np.inf)
    return np.where(values <= 0, least / 2 if np.isfinite(least) else 1.0, values)


def error_axis(accuracies: Floats, text: str, room: float = 1.2) -> Drawn:
    """An axis of accuracies in per cent, logarithmic in the error, with 100 % at its upper edge.

    The upper edge stands for an error `room` times smaller than the least.
    """
    errors = 100 - accuracies[np.isfinite(accuracies)]
    least = positive(errors).min() if len(errors) else 1.0
    bounds = (least / room, min(100.0, 1.12 * errors.max(initial=2 * least)))

    def apply(axes: Axes) -> None:
        axes.set_yscale(
            "function",
            functions=(lambda value: -np.log10(np.maximum(100 - value, bounds[0])), lambda value: 100 - 10**-value),
        )
        axes.set_ylim(100 - bounds[1], 100 - bounds[0])
        ticks = [100 - value for value in nice(*bounds)]
        _ticked(axes, "y", ({100.0: "100"} if 0 in errors else {}) | {tick: f"{tick:.10g}" for tick in ticks})
        axes.set_ylabel(f"{text} (%, log error)")

    return apply


def weights_left_axis(weights_left: Floats, targets: Sequence[float]) -> Drawn:
    """Shares of weights left on a logarithmic axis, sparsity growing to the right, with a tick at each target."""
    shares = np.append(weights_left[np.isfinite(weights_left)], [1 - target for target in targets])
    margin = max(1.12, (shares.max() / shares.min()) ** 0.07)

    def apply(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_xlim(shares.max() * margin, shares.min() / margin)
        sparsest_first = sorted(targets, reverse=True)
        ticks = zip(sparsest_first, distinct_percents(sparsest_first), strict=True)
        _ticked(axes, "x", {1 - target: text for target, text in ticks})
        axes.set_xlabel("Sparsity (log weights left)")

    return apply


def ratio_axis(ratios: Floats, text: str) -> Drawn:
    """A logarithmic axis of multiples of one."""
    bounds = (min(ratios.min(initial=1.0), 1.0) / 1.3, max(ratios.max(initial=1.0), 1.0) * 1.3)

    def apply(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_xlim(*bounds)
        most = int(size(axes)[0] / (4 * _em()))
        _ticked(axes, "x", {tick: f"{tick:.3g}×" for tick in nice(*bounds, most=max(3, min(most, 6)))})
        axes.set_xlabel(text)

    return apply


def steps_axis(axes: Axes) -> None:
    """A horizontal axis of training steps."""
    axes.set_xlabel("Step")
    axes.xaxis.set_major_locator(MaxNLocator(max(2, int(size(axes)[0] / (4.5 * _em()))), integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_counted))


def counts_axis(values: Floats, text: str) -> Drawn:
    """A vertical axis of counts, from zero."""

    def apply(axes: Axes) -> None:
        axes.set_ylim(0, 1.08 * max(1.0, values.max(initial=1.0)))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(_counted))
        axes.set_ylabel(text)

    return apply


def _counted(value: float, _: int | None = None) -> str:
    return f"{value:,.0f}"


def _em() -> float:
    return float(mpl.rcParams["font.size"])


def _ticked(axes: Axes, name: str, ticks: dict[float, str]) -> None:
    """Ticks with their labels; those that stand too close to an earlier one lose their label."""
    axis, shown = (axes.xaxis, _thinned(axes, 0, ticks)) if name == "x" else (axes.yaxis, _thinned(axes, 1, ticks))
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda _, place: shown[place or 0] if shown else ""))
    axis.set_minor_locator(NullLocator())


def _thinned(axes: Axes, direction: int, ticks: dict[float, str]) -> list[str]:
    to_axes = axes.transData + axes.transAxes.inverted()
    corner = [axes.get_xlim()[0], axes.get_ylim()[0]]
    taken: list[tuple[float, float]] = []
    shown = []
    for tick, text in ticks.items():
        corner[direction] = tick
        place = float(to_axes.transform(corner)[direction] * size(axes)[direction]) / _em()
        extent = (width(text) + 0.5, LINE)[direction]
        free = all(abs(place - other) >= (extent + beside) / 2 for other, beside in taken)
        taken += [(place, extent)] * free
        shown.append(text if free else "")
    return shown
