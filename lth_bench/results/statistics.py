"""Intervals, tests and ranks over seeds, for many comparisons at once.

Values have shape (groups, n): a row for each comparison, a column for each seed, and NaN where a seed is missing.
Results have shape (groups,) and the unit of the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # type: ignore[import-untyped]  # which imports its parts where they are first used

from lth_bench.results.arrays import Counts, Floats

EXACT = 32  # seeds up to which sign flips are counted: 2^16 sums for each half of them
CHUNK = 2**20  # sums held at once
ROUNDING = 1e-9  # share of the sum of magnitudes; rounding leaves 1e-12 in a difference of 0.01 %


@dataclass(frozen=True)
class Interval:
    """Means, their bounds and their numbers of seeds, all of shape (groups,)."""

    mean: Floats
    lower: Floats
    upper: Floats
    n: Counts


def mean_interval(values: Floats, level: float = 0.95) -> Interval:
    """Student's t interval of each row's mean: bounds are NaN below two seeds, and equal the mean without spread.

    Raises ValueError for a level outside (0, 1).
    """
    n, mean, error = _moments(values)
    reach = _quantile(n, level, tails=2) * error
    return Interval(mean, mean - reach, mean + reach, n)


def one_sided_lower(values: Floats, level: float = 0.95) -> Floats:
    """The value that each row's mean exceeds with this confidence, by Student's t; NaN below two seeds.

    Raises ValueError for a level outside (0, 1).
    """
    n, mean, error = _moments(values)
    return mean - _quantile(n, level, tails=1) * error


def t_test(differences: Floats) -> Floats:
    """Two-sided p-values of the paired t test: 0 without spread (1 if the mean is 0), NaN below two seeds."""
    n, mean, error = _moments(differences)
    certain = np.where(mean == 0, 0.0, np.inf)
    t = np.divide(np.abs(mean), error, out=certain, where=error > 0)
    return np.asarray(2 * scipy.special.stdtr(_freedom(n), -t))


def sign_flip(differences: Floats) -> tuple[Floats, Floats]:
    """Two-sided p-values of the exact sign-flip test of the mean, and the least value that p can take: 2^(1 - n).

    p is the share of the 2^n ways to sign a row's differences whose mean is at least as far from 0 as the observed
    one. It is NaN above 32 seeds; both are NaN without any.
    """
    present = ~np.isnan(differences)
    n = present.sum(axis=1)
    p = np.full(len(n), np.nan)
    for count in np.unique(n[(n > 0) & (n <= EXACT)]):
        chosen = n == count
        values = differences[chosen][present[chosen]]
        p[chosen] = np.concatenate([_shares(rows) for rows in _chunks(values, int(count))])
    return p, np.where(n > 0, 2.0 ** (1 - n), np.nan)


def holm(p: Floats) -> Floats:
    """Holm's step-down adjusted p-values of one family, of shape (tests,); NaN stays NaN and is no test of it."""
    present = ~np.isnan(p)
    values = p[present]
    order = np.argsort(values)
    factors = np.arange(values.size, 0, -1)
    stepped = np.empty_like(values)
    stepped[order] = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    adjusted = np.full(p.shape, np.nan)
    adjusted[present] = stepped
    return adjusted


def ranks(values: Floats) -> Floats:
    """Ranks along the last axis, in the shape of the values: 1 is the highest, ties share their average rank.

    NaN stays NaN and takes no rank.
    """
    table = pd.DataFrame(np.atleast_2d(values))  # scipy.stats, which ranks too, takes a second to import
    return table.rank(axis=1, ascending=False).to_numpy().reshape(values.shape)


def area(sparsities: Floats, values: Floats) -> float:
    """The mean height of a curve, of shape (points,), over -log10(1 - sparsity), by the trapezoid rule.

    The values of one sparsity are averaged. NaN if there are fewer than two sparsities, if one is 1, or if anything
    is missing. Raises ValueError for lengths that differ.
    """
    if len(sparsities) != len(values):
        raise ValueError(f"a curve has a value for each sparsity, not {len(values)} for {len(sparsities)}")
    if np.isnan(sparsities).any() or np.isnan(values).any() or (sparsities >= 1).any():
        return float("nan")
    places, points = np.unique(-np.log10(1 - sparsities), return_inverse=True)
    if len(places) < 2:
        return float("nan")
    heights = np.bincount(points, weights=values) / np.bincount(points)
    return float(np.diff(places) @ (heights[1:] + heights[:-1]) / 2 / (places[-1] - places[0]))


def _moments(values: Floats) -> tuple[Counts, Floats, Floats]:
    """The number, mean and standard error of each row, taken from the row's lowest value so that ties are exact."""
    present = ~np.isnan(values)
    n = present.sum(axis=1)
    lowest = np.where(n > 0, np.min(values, axis=1, initial=np.inf, where=present), np.nan)
    above = np.where(present, values - lowest[:, None], 0.0)
    rise = above.sum(axis=1) / np.maximum(n, 1)
    squares = np.where(present, (above - rise[:, None]) ** 2, 0.0).sum(axis=1)
    return n, lowest + rise, np.sqrt(squares / (_freedom(n) * np.maximum(n, 1)))


def _freedom(n: Counts) -> Floats:
    return np.where(n > 1, n - 1.0, np.nan)


def _quantile(n: Counts, level: float, tails: int) -> Floats:
    if not 0 < level < 1:
        raise ValueError(f"a level lies in (0, 1), unlike {level}")
    return np.asarray(scipy.special.stdtrit(_freedom(n), 1 - (1 - level) / tails))


def _chunks(values: Floats, n: int) -> Iterator[Floats]:
    rows = values.reshape(-1, n)
    size = max(1, CHUNK >> (n + 1) // 2)
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _shares(rows: Floats) -> Floats:
    """The shares of sign patterns, by meeting in the middle: a sum is one of the first half plus one of the second."""
    n = rows.shape[1]
    first, second = _signed_sums(rows[:, : n // 2]), np.sort(_signed_sums(rows[:, n // 2 :]), axis=1)
    observed = np.abs(rows.sum(axis=1)) - ROUNDING * np.abs(rows).sum(axis=1)
    needed = observed[:, None] - first
    lower = np.array([np.searchsorted(*pair).sum() for pair in zip(second, needed, strict=True)])
    return np.asarray(np.minimum(1.0, 2 * (1 - lower / 2.0**n)))  # as many sums lie as far below 0 as above


def _signed_sums(rows: Floats) -> Floats:
    sums: Floats = np.zeros((len(rows), 1))
    for column in rows.T:
        sums = np.hstack([sums + column[:, None], sums - column[:, None]])
    return sums
