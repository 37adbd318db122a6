"""Which methods are told from the best, by simulation and against values of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lth_bench.results.contest import studentized_range, told_from_best

RUNS = 1000


@pytest.mark.parametrize(("groups", "freedom"), [(2, 1), (3, 2), (6, 10), (24, 46), (40, 360)])
def test_the_critical_value_is_that_of_scipy(groups, freedom):
    value = studentized_range(groups, freedom)
    assert value == pytest.approx(stats.studentized_range.ppf(0.95, groups, freedom), rel=1e-4)


def told(methods, seeds, deviations=1.0):
    """The share of runs in which a method is told from the best although all are equal."""
    draw = np.random.default_rng(methods * seeds)
    runs = draw.normal(size=(RUNS, methods, seeds)) * np.broadcast_to(deviations, methods)[:, None]
    return np.mean([told_from_best(run + draw.normal(size=seeds)).any() for run in runs])


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("methods", [2, 6, 24])
def test_equal_methods_are_told_apart_in_five_per_cent_of_cases_at_most(methods, seeds):
    chance = 3 * np.sqrt(0.05 * 0.95 / RUNS)
    assert 0.01 < told(methods, seeds) <= 0.05 + chance


def test_a_wild_method_that_leads_by_luck_tells_little():
    """With a standard deviation that is pooled alone, the rate is 0.35 to 0.4."""
    assert told(24, 3, [10.0, *[1.0] * 23]) < 0.27


def test_methods_that_differ_are_told_apart():
    draw = np.random.default_rng(0)
    means = np.array([90.0, 89.9, 80.0, 70.0])[:, None]
    runs = [told_from_best(means + 0.3 * draw.normal(size=(4, 3)) + draw.normal(size=3)) for _ in range(200)]
    assert np.mean(runs, axis=0)[2:].min() == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_no_method_is_near_the_best_below_one_that_is_not(seed):
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(9, 1)) + draw.lognormal(size=(9, 1)) * draw.normal(size=(9, 3))
    order = np.argsort(-values.mean(axis=1))
    assert list(told_from_best(values)[order]) == sorted(told_from_best(values))


def test_missing_seeds_and_no_spread():
    nan = np.nan
    values = np.array([[3.0, 3.0, nan], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0], [nan, nan, 1.0]])
    assert told_from_best(values).tolist() == [False, True, False, False], "the last has no seed of the first's"
    assert not told_from_best(np.array([[3.0], [1.0]])).any(), "one seed tells nothing"
