"""Averages over several leaderboards, by hand and by simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import optimize

from lth_bench.experiments.experiment import Choice
from lth_bench.reports.averages import counted, sentences
from lth_bench.results.averages import MEASURES, _elo, _measured, _scores, averaged
from support.records import planned, recorded


def seeds(label, accuracies, model="lenet_5", target=0.5, **changes):
    changes = {"model": Choice(model), **changes}
    return [(planned(label, target, seed, **changes), value) for seed, value in enumerate(accuracies)]


TWO = [
    *seeds("imp", (0.90, 0.92), "lenet_5"),
    *seeds("snip", (0.80, 0.84), "lenet_5"),
    *seeds("imp", (0.60, 0.60), "mlp"),
    *seeds("snip", (0.70, 0.70), "mlp"),
    *seeds("imp", (0.50, 0.50), "mlp", 0.9),
    *seeds("snip", (0.50, 0.50), "mlp", 0.9),
]
"""Errors of 9 and 18 % on one model; of 40 and 30 %, and twice 50 %, on the other."""


def of(found, method):
    return found.rows.set_index("method").loc[method]


def test_averages_are_those_computed_by_hand(tmp_path):
    found = averaged(recorded(tmp_path, TWO))
    imp, snip = of(found, "imp"), of(found, "snip")
    assert (len(found.cells), len(found.blocks), found.missing) == (3, 2, {})
    assert (imp["mean_rank"], snip["mean_rank"]) == pytest.approx(((1 + 1.75) / 2, (2 + 1.25) / 2))
    assert imp["improvability"] == pytest.approx(100 * (0 + (1 / 4 + 0) / 2) / 2)
    assert snip["improvability"] == pytest.approx(100 * (1 / 2 + 0) / 2)
    # IMP won 1.25 of 2, and half of one more: with two methods, all tie on one block more.
    assert imp["elo"] - snip["elo"] == pytest.approx(400 * np.log10(1.75 / 1.25))
    assert imp["elo"] + snip["elo"] == pytest.approx(2000)


def test_ratings_are_those_of_the_highest_likelihood():
    """Three methods that met on four blocks, with the mean ranks 1.25, 2 and 2.75, and tied on 2/3 of one more."""
    wins = (4 * (3 - np.array([1.25, 2.0, 2.75])) + 2 / 3) / (4 + 2 / 3)

    def unlikelihood(strengths):
        pairs = np.logaddexp(strengths[:, None], strengths)[np.triu_indices(3, 1)]
        return pairs.sum() - wins @ strengths + strengths.sum() ** 2

    wanted = 1000 + 400 / np.log(10) * optimize.minimize(unlikelihood, np.zeros(3), tol=1e-10).x
    ratings, slope = _elo(np.array([1.25, 2.0, 2.75]), 4)
    assert ratings == pytest.approx(wanted, abs=0.01) and ratings[0] > ratings[1] > ratings[2]
    moved = _elo(np.array([1.26, 1.99, 2.75]), 4)[0] - ratings
    assert slope @ [0.01, -0.01, 0] == pytest.approx(moved, abs=0.05)


@pytest.mark.parametrize("methods", [1, 2, 24])
def test_a_method_that_always_wins_has_a_finite_rating(methods):
    ratings, _ = _elo(np.arange(methods) + 1.0, 100)
    assert np.isfinite(ratings).all() and (np.diff(ratings) < 0).all() and ratings.mean() == pytest.approx(1000)


def test_a_method_that_lacks_a_cell_is_named_and_not_compared_and_nothing_is_imputed(tmp_path):
    alone = averaged(recorded(tmp_path / "two", TWO))
    more = [*TWO, *seeds("fails", (0.99, "failed"), "lenet_5"), *seeds("fails", (0.99, 0.99), "mlp")]
    more += [*seeds("fails", (0.99, 0.99), "mlp", 0.9), *seeds("few", (0.99, 0.99), "mlp")]
    more += [*seeds("imp", (0.3, 0.3), "conv_2"), *seeds("imp", (0.3, 0.3), "mlp", 0.98)]
    more += [
        (dataclasses.replace(item, label="control"), value)
        for item, value in seeds("imp", (0.99, 0.99), control=Choice("sign"))
    ]
    board = recorded(tmp_path / "more", more)
    found = averaged(board)
    assert found.rows.equals(alone.rows), (
        "only cells that all compared methods have, and only methods that finished them"
    )
    assert {method: len(cells) for method, cells in found.missing.items()} == {"fails": 1, "few": 2}
    told = " ".join(sentences(found, board.names()))
    assert "3 cells of 2 leaderboards that all compared methods (2) finished" in told
    assert "Not counted: conv_2 on digits." in told
    assert "fails (lacks 50% of lenet_5 on digits); few (lacks 50% of lenet_5 on digits, 90% of mlp on digits)" in told


def test_a_method_gains_nothing_where_it_failed(tmp_path):
    rows = [item for name in "abcde" for model in ("lenet_5", "mlp") for item in seeds(name, (0.5, 0.6), model)]
    rows = [(item, "diverged" if index == 1 else value) for index, (item, value) in enumerate(rows)]
    found = averaged(recorded(tmp_path, rows))
    assert list(found.missing) == ["a"] and len(found.cells) == 2


def test_one_leaderboard_has_no_interval_and_none_has_nothing(tmp_path):
    board = recorded(tmp_path / "one", TWO[:4])
    found = averaged(board)
    assert found.rows["mean_rank"].tolist() == [1, 2] and found.rows["mean_rank_lower"].isna().all()
    assert "In brackets" not in " ".join(sentences(found, board.names()))
    board = recorded(tmp_path / "dense", seeds("dense", (0.9, 0.9), target=0.0))
    assert averaged(board).rows.empty and "all compared methods (0)" in next(counted(averaged(board), {}, "Ranks"))


def test_the_same_results_have_the_same_intervals(tmp_path):
    board = recorded(tmp_path, TWO)
    assert averaged(board).rows.equals(averaged(board).rows)


def test_an_interval_without_spread_between_blocks_is_that_of_seeds():
    """Two methods at the same accuracies on every block, with three seeds each."""
    values = np.tile(np.array([[[80.0, 82, 84]], [[90.0, 91, 92]]]), (1, 4, 1))
    found = _measured(values, np.arange(4))
    assert found["mean_rank"].tolist() == [2, 1] and found["mean_rank_upper"].tolist() == [2, 1]
    assert 0 < found["improvability"][0] - found["improvability_lower"][0] < 5


@pytest.mark.parametrize("blocks", [3, 8])
@pytest.mark.parametrize(("noise", "interaction"), [(1.0, 0.5), (0.3, 1.5)])
def test_intervals_hold_the_value_over_many_blocks(blocks, noise, interaction):
    """Five methods of other quality on every block, 3 seeds; the value is that over 20,000 blocks."""
    generator, times = np.random.default_rng(3), 100

    def drawn(count):
        effects = np.arange(5)[:, None] * 0.5 + interaction * generator.standard_normal((5, count))
        errors = 12 * np.exp(0.4 * generator.standard_normal(count)) + effects
        return 90 - errors[:, :, None] + noise * generator.standard_normal((5, count, 3))

    ranks, improvability = _scores(drawn(20_000).mean(axis=2).T[:, None]).mean(axis=0)
    truth = dict(zip(MEASURES, (ranks, improvability, _elo(ranks, 20_000)[0]), strict=True))
    found = [_measured(drawn(blocks), np.arange(blocks)) for _ in range(times)]
    for name, value in truth.items():
        held = np.mean([(one[f"{name}_lower"] <= value) & (value <= one[f"{name}_upper"]) for one in found])
        assert held > 0.9, name
