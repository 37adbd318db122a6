"""What heat maps show: the sparsity of each layer, and how far masks agree, by method."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize

from lth_bench.reports import escaping
from lth_bench.reports.figures.families import order, panelled
from lth_bench.reports.figures.heat import ANNOTATED, Heat, heat
from lth_bench.reports.figures.lines import PER_PANEL
from lth_bench.reports.figures.style import Setting
from lth_bench.reports.figures.view import Sketch, View, remarks, seeds, sentence
from lth_bench.reports.numbers import hundredths, percentage

SPANS = 45.0  # em of a figure with room for families beside the overlaps


def layers(view: View, setting: Setting) -> Sketch | None:
    """Weights left in each layer, as sparsity."""
    means = {method: view.layers[method].mean() for method in view.looks if method in view.layers}
    if not means:
        return None
    names = list(dict.fromkeys(name for found in view.layers.values() for name in found.columns))
    left = pd.DataFrame(means).T[names]
    emptied = pd.DataFrame({method: (view.layers[method] == 0).any() for method in means}).T
    crosses = emptied.reindex(index=left.index, columns=names).fillna(False).astype(bool)
    texts = left.map(lambda share: percentage(1 - share)[:-1]) if len(names) <= ANNOTATED else pd.DataFrame()
    least = max(1e-4, float(np.min(left.to_numpy()[left.to_numpy() > 0], initial=0.1)))
    floor = 10.0 ** math.floor(math.log10(least) + 1e-9)
    methods = list(means)
    chart = Heat(
        view.title_at_target,
        left.clip(lower=floor),
        {method: view.name(method) for method in methods},
        {method: view.looks[method].gid for method in methods},
        [escaping.figure(name.removesuffix(".weight")) for name in names],
        texts.mask(crosses, texts + " ×") if texts.size else texts,
        LogNorm(floor, 1.0),
        "Sparsity (%)",
        {share: f"{100 * (1 - share):.10g}" for share in 10.0 ** np.arange(round(math.log10(floor)), 1)},
        panelled(methods, [view.family(method) * setting.grouped for method in methods], PER_PANEL),
        pd.DataFrame() if texts.size else crosses,
    )
    rows = view.at_target(means)
    caption = sentence(
        f"{view.title}: sparsity of each layer, in the order of the network, at the target of "
        f"{percentage(view.target)}, {seeds(rows)}",
        "colours are logarithmic in the weights left",
        *(["a cross marks layers that lost all weights for some seed"] if crosses.to_numpy().any() else []),
        *remarks(view, rows),
    )
    return caption, partial(heat, chart, setting)


def overlap(view: View, setting: Setting) -> Sketch | None:
    """How far the masks of methods agree, above chance."""
    table = view.overlaps
    kept = [name for name in table.index if table.loc[name].notna().any() and name in view.looks]
    if not kept:
        return None
    families = {method: view.family(method) * setting.grouped for method in kept}
    if many := len(kept) > PER_PANEL + 1:
        kept = sorted(kept, key=lambda method: order(families[method]))
    spanned = many and any(families.values()) and setting.room > SPANS
    spans = Counter(families[method] for method in kept if spanned)
    table, numbers = table.loc[kept, kept], {method: str(number) for number, method in enumerate(kept, 1)}
    chart = Heat(
        view.title_at_target,
        table,
        {method: view.name(method) for method in kept},
        {method: view.looks[method].gid for method in kept},
        list(numbers.values()),
        table.map(lambda value: hundredths(round(value, 2) + 0.0)) if len(kept) <= ANNOTATED else pd.DataFrame(),
        Normalize(0.0, 1.0),
        "Overlap of masks above chance",
        {tick: f"{tick:g}" for tick in (0, 0.25, 0.5, 0.75, 1)},
        [("", kept)],
        pd.DataFrame(),
        numbers,
        [(family or "other", number) for family, number in spans.items()],
    )
    rows = view.at_target(kept)
    caption = sentence(
        f"{view.title}: overlap of masks above chance at the target of {percentage(view.target)} sparsity, "
        f"{seeds(rows)}",
        "1 is the same mask, 0 is as much as random masks with as many weights in each layer overlap, and below 0 is "
        "less, in the colour of 0",
        "overlap is the weights that both keep, as a share of those that either keeps",
        "columns are numbered as rows",
        "on the diagonal that of different seeds of one method",
        "grey is not known, or of masks that keep all",
        *remarks(view, rows),
    )
    return caption, partial(heat, chart, setting)
