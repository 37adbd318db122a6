"""Heat maps: the sparsity of each layer, and how far masks agree, by method."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lth_bench.reports import escaping
from lth_bench.reports.figures import axes as scales
from lth_bench.reports.figures.style import POINT, Sheet, in_style, panels, width
from lth_bench.reports.figures.view import Sketch, View, remarks, seeds, sentence
from lth_bench.results.arrays import Bools

BAR = 1.5  # height of a colour bar, in inches
ANNOTATED = 12  # columns up to which cells hold numbers


@dataclass(frozen=True)
class Heat:
    """Values by method, the labels of their columns, the texts in their cells (none where empty), and their colours."""

    values: pd.DataFrame
    columns: list[str]
    texts: pd.DataFrame
    norm: Normalize
    label: str
    ticks: dict[float, str]
    crosses: Bools = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))


def layers(view: View) -> Sketch | None:
    """Weights left in each layer, as sparsity."""
    means = {method: view.layers[method].mean() for method in view.looks if method in view.layers}
    if not means:
        return None
    names = list(dict.fromkeys(name for found in view.layers.values() for name in found.columns))
    left = pd.DataFrame(means).T[names]
    emptied = pd.DataFrame({method: (view.layers[method] == 0).any() for method in means}).T
    crosses = emptied.reindex(index=left.index, columns=names).fillna(False).astype(bool)
    texts = left.map(lambda share: scales.percentage(1 - share)[:-1]) if len(names) <= ANNOTATED else pd.DataFrame()
    least = max(1e-4, float(np.min(left.to_numpy()[left.to_numpy() > 0], initial=0.1)))
    floor = 10.0 ** math.floor(math.log10(least) + 1e-9)
    chart = Heat(
        left.clip(lower=floor),
        [escaping.figure(name.removesuffix(".weight")) for name in names],
        texts.mask(crosses, texts + " ×") if texts.size else texts,
        LogNorm(floor, 1.0),
        "Sparsity (%)",
        {share: f"{100 * (1 - share):.10g}" for share in 10.0 ** np.arange(round(math.log10(floor)), 1)},
        np.zeros((0, 0), dtype=bool) if texts.size else crosses.to_numpy(),
    )
    rows = view.at_target(means)
    caption = sentence(
        f"{view.title}: sparsity of each layer, in the order of the network, at the target of "
        f"{scales.percentage(view.target)}, {seeds(rows)}",
        "colours are logarithmic in the weights left",
        *(["a cross marks layers that lost all weights for some seed"] if crosses.to_numpy().any() else []),
        *remarks(view, rows),
    )
    return caption, partial(heat, view, chart)


def overlap(view: View) -> Sketch | None:
    """How far the masks of methods agree."""
    table = pd.DataFrame() if view.overlaps is None else view.overlaps
    kept = [name for name in table.index if table.loc[name].notna().any() and name in view.looks]
    if not kept:
        return None
    table = table.loc[kept, kept]
    texts = table.map(lambda value: f"{value:.2f}") if len(kept) <= ANNOTATED else pd.DataFrame()
    ticks = {tick: f"{tick:g}" for tick in (0, 0.25, 0.5, 0.75, 1)}
    chart = Heat(
        table,
        list(map(view.name, kept)),
        texts,
        Normalize(0.0, 1.0),
        "Jaccard overlap of masks\n(diagonal: between seeds)",
        ticks,
    )
    rows = view.at_target(kept)
    caption = sentence(
        f"{view.title}: overlap of masks (weights that both keep, as a share of those that either keeps) at the "
        f"target of {scales.percentage(view.target)} sparsity, {seeds(rows)}",
        "on the diagonal that of different seeds of one method",
        "grey is not known",
        *remarks(view, rows),
    )
    return caption, partial(heat, view, chart)


@in_style
def heat(view: View, chart: Heat) -> Figure:
    """A heat map; cells that hold no value are grey, some are crossed."""
    names = list(map(view.name, chart.values.index))
    count, height = len(chart.columns), 0.22 * len(names)
    every = math.ceil(count / 40)
    labels = chart.columns[::every]
    cell = 0.46 if chart.texts.size else min(0.24, max(9 / count, 0.06))
    longest = max(map(width, labels)) * 8 * POINT
    upright = longest + 0.04 > cell * every
    left = max(map(width, names)) * 8 * POINT + 0.2
    below = max(longest + 0.2 if upright else 0.3, BAR - height + 0.1)
    sheet = Sheet(1, max(cell * count, 1.4), height, left, 0.95, below, 0.1)
    figure, (axes,) = panels(1, sheet, view.title_at_target, [])
    bar = _bar(figure, axes)
    sns.heatmap(
        chart.values, ax=axes, cbar_ax=bar, norm=chart.norm, cmap="viridis", mask=chart.values.isna(),
        annot=chart.texts if chart.texts.size else None, fmt="", annot_kws={"size": 7},
        rasterized=chart.values.size > 3000, linewidths=0.5 if cell > 0.12 else 0, xticklabels=False, yticklabels=False,
    )  # fmt: skip
    axes.set(facecolor="0.9", xlabel="", ylabel="")
    axes.grid(False)
    axes.set_xticks(np.arange(0, count, every) + 0.5, labels, rotation=90 if upright else 0)
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    for text, method in zip(axes.get_yticklabels(), chart.values.index, strict=True):
        text.set_gid(view.looks[method].gid)
    down, across = np.nonzero(chart.crosses)
    axes.plot(across + 0.5, down + 0.5, linestyle="", marker="x", color="white", markersize=4, gid="collapsed")
    _scaled(bar, chart)
    return figure


def _scaled(bar: Axes, chart: Heat) -> None:
    bar.yaxis.set_major_locator(FixedLocator(list(chart.ticks)))
    bar.yaxis.set_minor_locator(NullLocator())
    bar.set_yticklabels(chart.ticks.values())
    bar.set_ylabel(chart.label)
    bar.grid(False)


def _bar(figure: Figure, axes: Axes) -> Axes:
    """Room for a colour bar at the upper right."""
    (wide, high), box = figure.get_size_inches(), axes.get_position()
    return figure.add_axes((box.x1 + 0.12 / wide, box.y1 - BAR / high, 0.13 / wide, BAR / high))
