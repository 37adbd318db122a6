"""Intervals, tests and ranks, against SciPy, by hand, by their definitions and by simulation."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from lth_bench.results.statistics import area, holm, mean_interval, one_sided_lower, ranks, sign_flip, t_test

NAN = np.nan
COMPARISONS = 20_000
shares = arrays(float, st.integers(0, 12), elements=st.floats(0, 1) | st.just(NAN))
halves = st.integers(-6, 6).map(lambda found: found / 2)  # ties and zeros are common among them
tables = arrays(float, st.tuples(st.integers(1, 4), st.integers(0, 7)), elements=halves | st.just(NAN))


def accuracies(groups, seeds, missing=0.0, seed=0):
    """Accuracies in per cent, some of them missing."""
    generator = np.random.default_rng(seed)
    values = 90 + generator.normal(size=(groups, 1)) + generator.normal(size=(groups, seeds))
    return np.where(generator.random(values.shape) < missing, NAN, values)


def centred(seeds, seed=0):
    """Normal differences whose true mean is 0."""
    return np.random.default_rng(seed).normal(size=(COMPARISONS, seeds))


def kept(row):
    return row[~np.isnan(row)]


def deviations(rate):
    """Five standard deviations of a rate that is measured on as many comparisons."""
    return 5 * (rate * (1 - rate) / COMPARISONS) ** 0.5


def all_signs(row):
    return np.array(list(product((1.0, -1.0), repeat=len(row)))) * row


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_intervals_are_those_of_scipy(level):
    values = accuracies(100, 7, missing=0.3)
    found, low = mean_interval(values, level), one_sided_lower(values, level)
    several = found.n > 1
    assert 0 < (~several).sum() < 10
    for group in np.flatnonzero(several):
        row = kept(values[group])
        expected = stats.ttest_1samp(row, 0).confidence_interval(level)
        assert (found.lower[group], found.upper[group]) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert (found.mean[group], found.n[group]) == (pytest.approx(row.mean(), rel=1e-14), len(row))
        one_sided = stats.ttest_1samp(row, 0, alternative="greater").confidence_interval(level)
        assert low[group] == pytest.approx(one_sided.low, rel=1e-12)


def test_an_interval_by_hand():
    # A mean of 2, a standard error of 1/√3, and 4.303 and 2.920 from the table of t with two degrees of freedom.
    found = mean_interval(np.array([[1.0, 2.0, NAN, 3.0]]))
    assert (found.mean[0], found.n[0]) == (2, 3)
    assert (found.lower[0], found.upper[0]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert one_sided_lower(np.array([[1.0, 2.0, NAN, 3.0]]))[0] == pytest.approx(2 - 2.9200 / 3**0.5, abs=1e-4)


def test_one_seed_has_a_mean_but_no_bounds_and_none_has_nothing():
    values = np.array([[NAN, 90.0, NAN], [NAN, NAN, NAN]])
    found = mean_interval(values)
    np.testing.assert_array_equal(found.mean, [90, NAN])
    np.testing.assert_array_equal(found.n, [1, 0])
    for bound in (found.lower, found.upper, one_sided_lower(values), t_test(values)):
        assert np.isnan(bound).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_empty_tables_have_empty_answers(shape):
    values = np.empty(shape)
    found = mean_interval(values)
    for answer in (found.mean, found.lower, found.upper, t_test(values), *sign_flip(values)):
        assert answer.shape == shape[:1] and np.isnan(answer).all()
    assert ranks(values).shape == shape


def test_without_spread_an_interval_has_no_width_and_the_t_test_is_certain():
    # 0.1 is a number whose mean, as a sum over n, is not itself.
    values = np.array([[0.1] * 3, [0.0] * 3, [-0.7, NAN, -0.7]])
    found = mean_interval(values)
    for bound in (found.mean, found.lower, found.upper, one_sided_lower(values)):
        assert bound.tolist() == [0.1, 0.0, -0.7]
    assert t_test(values).tolist() == [0, 1, 0]


def test_a_level_in_per_cent_is_refused():
    for bound in (mean_interval, one_sided_lower):
        for level in (95, 1.0, 0.0, -0.5, NAN):
            with pytest.raises(ValueError, match=rf"a level lies in \(0, 1\), unlike {level}"):
                bound(np.ones((1, 3)), level)


def test_the_t_test_is_the_paired_one_of_scipy():
    method, dense = accuracies(100, 6, missing=0.2, seed=1), accuracies(100, 6, seed=2)
    differences = method - dense
    found = t_test(differences)
    several = (~np.isnan(differences)).sum(axis=1) > 1
    pairs = zip(method[several], dense[several], strict=True)
    expected = [stats.ttest_rel(*pair, nan_policy="omit").pvalue for pair in pairs]
    np.testing.assert_allclose(found[several], expected, rtol=1e-9)
    assert np.isnan(found[~several]).all()


def test_a_difference_is_significant_just_where_zero_is_outside_its_interval():
    differences = centred(4)
    found = mean_interval(differences)
    np.testing.assert_array_equal(t_test(differences) < 0.05, (found.lower > 0) | (found.upper < 0))


@pytest.mark.parametrize("n", range(2, 10))
def test_sign_flips_are_those_of_scipy(n):
    rows = np.random.default_rng(n).normal(0.5, 1, size=(8, n))
    expected = [
        stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue for row in rows
    ]
    np.testing.assert_allclose(sign_flip(rows)[0], expected, rtol=1e-12)


@given(tables)
def test_sign_flips_are_those_of_the_definition(table):
    p, least = sign_flip(table)
    for row, found, bound in zip(map(kept, table), p, least, strict=True):
        means = np.abs(all_signs(row).sum(axis=1))  # halves add up without rounding
        expected = (means >= means[0]).mean() if row.size else NAN
        assert found == expected or np.isnan([found, expected]).all()
        assert bound == 2.0 ** (1 - row.size) if row.size else np.isnan(bound)


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_sign_flips_reject_no_more_often_than_their_level(n):
    # All signs are equally likely under the null: among these rows p must be at most a in a share of at most a.
    p, least = sign_flip(all_signs(np.random.default_rng(n).exponential(size=n)))
    assert all((p <= level).mean() <= level for level in (*p, 0.01, 0.05, 0.1, 0.5))
    assert p.min() == least[0]
    rejected = (sign_flip(centred(n))[0] <= 0.05).mean()
    possible = 2.0 ** (1 - n) * (0.05 // 2.0 ** (1 - n))  # the largest share of all signs within the level
    assert rejected == pytest.approx(possible, abs=deviations(0.05))


def test_sign_flips_by_hand():
    table = np.array(
        [
            [1.0, 2.0, 3.0, NAN],  # only all plus and all minus are as far
            [1.0, 2.0, -3.0, NAN],  # a mean of 0: everything is as far
            [3.0, 2.0, -1.0, NAN],  # 4 or more: 6, 4, and as many below 0
            [NAN, NAN, 5.0, NAN],  # one seed says nothing
            [0.0, 0.0, 0.0, 0.0],
            [1.0, 1.0, 1.0, 0.0],  # a zero has two signs: four of sixteen
        ]
    )
    p, least = sign_flip(table)
    assert p.tolist() == [2 / 8, 1, 4 / 8, 1, 1, 4 / 16]
    assert least.tolist() == [1 / 4, 1 / 4, 1 / 4, 1, 1 / 8, 1 / 8]


def test_rounding_breaks_no_ties_between_sign_flips():
    # Steps of one hundredth of a point, but for the rounding of the accuracies: as far are 5 of 8, up and down.
    steps = np.array([91.37 - 91.36, 3.02 - 3.01, 50.01 - 50.0, 99.98 - 99.99])
    assert np.ptp(np.abs(steps)) > 1e-15
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        assert sign_flip(steps[None, order])[0] == 10 / 16
    assert sign_flip(np.array([[0.1, 0.2, -0.3]]))[0] == 1


def test_sign_flips_of_many_seeds_are_exact():
    for n in (16, 17, 32):
        p, least = sign_flip(np.ones((1, n)))
        assert (p, least) == (2 / 2**n, 2 / 2**n)
    # Of equal differences with k minus signs, as far are those with at most k of either sign: a binomial tail.
    row = np.array([[-1.0] * 9 + [1.0] * 23])
    assert sign_flip(row)[0] == pytest.approx(stats.binomtest(9, 32).pvalue, rel=1e-12)
    row = np.random.default_rng(0).normal(0.3, 1, 14)
    sums = np.abs(all_signs(row).sum(axis=1))
    assert sign_flip(row[None])[0] == (sums >= sums[0] - 1e-9).mean()


def test_beyond_32_seeds_only_the_least_p_is_known():
    p, least = sign_flip(np.ones((2, 33)))
    assert np.isnan(p).all() and least.tolist() == [2.0**-32] * 2


def test_rows_of_different_lengths_do_not_mix():
    table = accuracies(300, 9, missing=0.4) - 90
    together = sign_flip(table)
    alone = [sign_flip(kept(row)[None]) for row in table]
    np.testing.assert_array_equal(together, np.hstack(alone))


def test_more_rows_than_fit_at_once_keep_their_places():
    table = np.ones((600, 24))
    table[[5, 300, 599], 0] = -1
    p, least = sign_flip(table)
    assert set(np.flatnonzero(p > least)) == {5, 300, 599}
    assert p[300] == 2 * (1 + 24) / 2**24


def test_holm_by_hand():
    # In order 0.005, 0.01, 0.03, 0.04 take 4, 3, 2, 1 times themselves, and none may fall below the one before.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # The missing one makes no difference to the factors.
    np.testing.assert_allclose(holm(np.array([0.04, NAN, 0.01])), [0.04, NAN, 0.02])
    assert holm(np.array([0.9, 0.4, 0.4])) == pytest.approx([1, 1, 1])
    assert holm(np.array([0.3])) == [0.3]
    assert np.isnan(holm(np.array([NAN, NAN]))).all() and holm(np.array([])).size == 0


@given(shares, st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_holm_rejects_what_its_step_down_procedure_does(p, level):
    adjusted = holm(p)
    order = [index for index in np.argsort(p, kind="stable") if not np.isnan(p[index])]
    rejected = set()
    for place, index in enumerate(order):
        if (len(order) - place) * p[index] > level:
            break
        rejected.add(index)
    assert rejected == set(np.flatnonzero(adjusted <= level))
    np.testing.assert_array_equal(np.isnan(adjusted), np.isnan(p))
    assert (kept(adjusted) >= kept(p)).all() and (kept(adjusted) <= 1).all()


def test_holm_is_wrong_about_a_true_family_no_more_often_than_its_level():
    p = np.random.default_rng(0).random((COMPARISONS // 4, 5))
    wrong = np.mean([holm(row).min() <= 0.05 for row in p])
    assert wrong == pytest.approx(0.05, abs=2 * deviations(0.05))


def test_ranks_by_hand():
    values = np.array([[70.0, 90.0, 80.0, 90.0], [NAN, 1.0, NAN, 2.0], [NAN] * 4])
    np.testing.assert_array_equal(ranks(values), [[4, 1.5, 3, 1.5], [NAN, 2, NAN, 1], [NAN] * 4])
    np.testing.assert_array_equal(ranks(values[0]), [4, 1.5, 3, 1.5])


@given(tables)
def test_ranks_are_those_of_scipy_among_what_is_there(table):
    for row, found in zip(table, ranks(table), strict=True):
        np.testing.assert_array_equal(kept(found), stats.rankdata(-kept(row)))
        np.testing.assert_array_equal(np.isnan(found), np.isnan(row))


def test_an_area_by_hand():
    # At 0, 90 and 99 % the abscissa is 0, 1 and 2: (95 + 85) / 2 and (85 + 45) / 2, of a width of 2.
    sparsities, values = np.array([0.9, 0.0, 0.99]), np.array([85.0, 95.0, 45.0])
    assert area(sparsities, values) == pytest.approx((90 + 65) / 2)
    assert area(sparsities[:2], values[:2]) == pytest.approx(90)
    # From 0 to 90 % is as wide as from 90 to 99.9 % is twice.
    assert area(np.array([0.0, 0.9, 0.999]), np.array([10.0, 10.0, 40.0])) == pytest.approx((10 + 2 * 25) / 3)


def test_values_of_one_sparsity_are_averaged_in_whatever_order():
    found = {
        area(np.array(sparsities), np.array(values))
        for sparsities, values in (
            ([0.0, 0.9, 0.9], [10.0, 20.0, 40.0]),
            ([0.9, 0.0, 0.9], [40.0, 10.0, 20.0]),
            ([0.0, 0.9], [10.0, 30.0]),
        )
    }
    assert found == {20}


@given(st.dictionaries(st.integers(0, 999), st.floats(0, 100), min_size=2), st.randoms())
def test_an_area_lies_among_its_values_and_has_no_order(curve, random):
    points = list(curve.items())
    random.shuffle(points)
    sparsities, values = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    order = np.argsort(sparsities)
    found = area(sparsities / 1000, values)
    assert values.min() - 1e-9 <= found <= values.max() + 1e-9
    assert found == area(sparsities[order] / 1000, values[order])
    places = -np.log10(1 - sparsities[order] / 1000)
    assert found == pytest.approx(np.trapezoid(values[order], places) / np.ptp(places), abs=1e-9)


@pytest.mark.parametrize(
    ("sparsities", "values"),
    [
        ([], []),
        ([0.9], [80.0]),
        ([0.9, 0.9], [80.0, 81.0]),
        ([0.0, 0.9, 0.99], [90.0, NAN, 80.0]),
        ([0.0, NAN, 0.99], [90.0, 85.0, 80.0]),
        ([0.0, 0.9, 1.0], [90.0, 85.0, 10.0]),
    ],
)
def test_no_area_hides_a_missing_cell_or_a_missing_range(sparsities, values):
    assert np.isnan(area(np.array(sparsities), np.array(values)))


def test_a_curve_has_a_value_for_each_sparsity():
    with pytest.raises(ValueError, match="a curve has a value for each sparsity, not 1 for 2"):
        area(np.array([0.0, 0.9]), np.array([90.0]))


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds):
    differences = centred(seeds)
    found = mean_interval(differences)
    covered = ((found.lower <= 0) & (found.upper >= 0)).mean()
    assert covered == pytest.approx(0.95, abs=deviations(0.05))
    assert (one_sided_lower(differences) > 0).mean() == pytest.approx(0.05, abs=deviations(0.05))
    assert (t_test(differences) <= 0.05).mean() == pytest.approx(0.05, abs=deviations(0.05))


def test_a_bootstrap_of_three_seeds_would_cover_far_less_than_it_says():
    # Why there is none here: of the 27 equally likely resamples the lowest is the lowest seed thrice, and its 1/27 is
    # above 2.5 %. The interval is the seeds' range, and the truth is outside if all three fall on one side: 1 in 4.
    resamples = centred(3)[:, list(product(range(3), repeat=3))].mean(axis=2)
    lower, upper = np.quantile(resamples, [0.025, 0.975], axis=1, method="inverted_cdf")
    covered = ((lower <= 0) & (upper >= 0)).mean()
    assert covered < 0.85
    assert covered == pytest.approx(0.75, abs=deviations(0.25))


def test_twenty_thousand_comparisons_take_seconds():
    table = accuracies(COMPARISONS, 5, missing=0.1) - 90
    start = time.perf_counter()
    p, _ = sign_flip(table)
    for function in (mean_interval, one_sided_lower, t_test, ranks):
        function(table)
    holm(p)
    area(np.linspace(0, 0.99, COMPARISONS), np.nan_to_num(table[:, 0]))
    assert time.perf_counter() - start < 5


def test_importing_is_quick():
    slow = "{'scipy.stats', 'scipy.special', 'torch'}"
    code = f"import sys, lth_bench.results.statistics; sys.exit(len({slow} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
