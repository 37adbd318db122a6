"""Which methods of a column are told from the best: multiple comparisons with the best.

Values have shape (methods, seeds), in per cent, and NaN where a seed is missing.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy  # type: ignore[import-untyped]

from lth_bench.results.arrays import Bools, Floats

NODES, STEPS, WIDEST = 128, 50, 8.0


def told_from_best(values: Floats, negligible: float = 0.0) -> Bools:
    """Which methods are shown to be worse than the best, by more than a `negligible` number of points.

    A method is told from the best if its mean lies below the highest by more than `reach`, which is the same for all
    methods, so that none gains by a large spread of its own. Those that have no seed in common with the method of the
    highest mean are not told from it.
    """
    first = int(np.argmax(np.nanmean(values, axis=1)))
    common = ~np.isnan(values) & ~np.isnan(values[first])
    counts = common.sum(axis=1)
    behind = np.where(common, values[first] - values, 0.0).sum(axis=1) / np.maximum(counts, 1)
    width = reach(values, first, int(counts[counts > 0].min()))
    return np.asarray((counts > 0) & (behind > negligible + width) & ~np.isnan(width))


def reach(values: Floats, first: int, seeds: int) -> float:
    """How far below the mean of the `first` method another mean over so many seeds has to lie to be told from it.

    Tukey's critical value at 95 % (the studentized range), as the method to compare with is chosen by its mean: if all
    methods are equal, one or more are told from the best in 5 % of cases. The standard deviation is what the effects of
    methods and seeds leave, because methods start from the same weights at each seed; it is pooled over all methods,
    but for the first one's own where that is larger. NaN if no degree of freedom is left.
    """
    rest, freedom = residuals(values)
    if freedom < 1:
        return float("nan")
    present = ~np.isnan(values)
    pooled = float((rest**2).sum()) / freedom
    own = float((rest[first] ** 2).sum()) / (freedom * int(present[first].sum()) / int(present.sum()))
    return studentized_range(len(values), freedom) * float(np.sqrt((pooled + max(pooled, own)) / 2 / seeds))


def residuals(values: Floats) -> tuple[Floats, int]:
    """What additive effects of methods and seeds leave, 0 where a seed is missing; and its degrees of freedom."""
    present = ~np.isnan(values)
    methods, seeds = np.nonzero(present)
    design = np.concatenate([np.eye(len(values))[methods], np.eye(values.shape[1])[seeds]], axis=1)
    centred = values[present] - values[present].mean()
    effects, _, rank, _ = np.linalg.lstsq(design, centred, rcond=None)
    rest = np.zeros(values.shape)
    rest[present] = centred - design @ effects
    return rest, len(methods) - int(rank)


@cache
def studentized_range(groups: int, freedom: int, level: float = 0.95) -> float:
    """The value that the range of so many normal means, in standard errors, does not exceed with this probability."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    scale = np.sqrt(2 * scipy.special.chdtri(freedom, (1 - nodes) / 2) / 2 / freedom)
    highest, density = WIDEST * nodes, WIDEST * weights * groups * np.exp(-((WIDEST * nodes) ** 2) / 2)

    def probability(value: float) -> float:
        within = scipy.special.ndtr(highest) - scipy.special.ndtr(highest - value * scale[:, None])
        return float(weights / 2 @ within ** (groups - 1) @ density / np.sqrt(2 * np.pi))

    low, high = 0.0, 1.0
    while probability(high) < level:
        high *= 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < level else (low, middle)
    return high
