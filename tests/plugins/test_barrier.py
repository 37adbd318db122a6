"""The analyses of error barriers and of rewinding: by hand, on networks that are one, and on permuted ones."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch

from lth_bench import Duration, Unsuitable
from lth_bench.methods.controls import start_from
from lth_bench.methods.interpolation import barrier, between
from lth_bench.pruning.hidden_units import hidden_units, permuted
from lth_bench.training.sequels import recalibrate
from lth_bench.training.state import load
from lth_bench_plugins.barrier import STABLE, Barrier, aligned, batch_norms, rewound, states
from lth_bench_plugins.rewind_sweep import RewindSweep
from support.analyses import study_of
from support.networks import states_equal
from support.suites import finish, pruner, write_suite


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("barrier")
    pruners = pruner("dense", sparsities=[0]) + pruner("snip")
    finish(write_suite(folder / "s.toml", pruners, duration="3ep", sparsities=[0.8]), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """A finished run of a narrow ResNet-20."""
    folder = tmp_path_factory.mktemp("normed")
    path = write_suite(folder / "s.toml", pruner("dense", sparsities=[0]), duration="1ep")
    path.write_text(
        path.read_text().replace('["lenet_300_100"]', '[{ name = "cifar_resnet20", arguments = { width = 0.25 } }]')
    )
    finish(path, folder / "run")
    return folder / "run"


def error_barrier(study, one, other, points=5):
    return barrier([study.test(state).error for state in states(study, one, other, points, batch_norms(one)[0])])


def test_points_of_a_line_by_hand():
    one = {"w": torch.tensor([1.0, -2.0]), "count": torch.tensor(3)}
    other = {"w": torch.tensor([3.0, 2.0]), "count": torch.tensor(5)}
    assert between(one, other, 0.25)["w"].tolist() == [1.5, -1.0] and between(one, other, 0.25)["count"] == 3
    assert torch.equal(between(one, other, 0.0)["w"], one["w"]) and torch.equal(
        between(one, other, 1.0)["w"], other["w"]
    )
    one["w"] = torch.randn(1000)
    assert all(torch.equal(between(one, one, alpha / 29)["w"], one["w"]) for alpha in range(30))


def test_barriers_by_hand():
    assert barrier([1.0, 6.0, 2.0, 3.0]) == 4.0
    assert barrier([1.0, 1.5, 3.0]) == 1.0, "the ends count, so that it is never below zero"
    assert barrier([0.1] * 30) == 0.0


def test_the_line_from_a_network_to_itself_is_flat_to_the_bit(directory):
    study = study_of(directory, "dense")
    final = study.ticket.final
    measured = [study.test(state) for state in states(study, final, final, 30, "none")]
    assert len(measured) == 30 and len(set(measured)) == 1
    assert error_barrier(study, final, final, 30) == 0.0


def test_two_trainings_differ_in_the_order_of_the_data_alone(directory):
    study = study_of(directory, "SNIP")
    one, other = (Barrier().trained(study, order) for order in (0, 1))
    assert states_equal(one, study.ticket.final), "the first is the ticket's own training"
    assert not states_equal(one, other)
    assert all(not other[name][~mask].any() for name, mask in study.ticket.masks.items())
    by_hand = study.session(order=1)
    start_from(by_hand, study.ticket, {})
    by_hand.train()
    assert states_equal(by_hand.snapshot().state, other)


def test_rows_hold_every_point_and_the_barriers_of_them(directory):
    rows = list(Barrier(points=7)(study_of(directory, "SNIP")))
    points, (whole,) = rows[:-1], rows[-1:]
    assert [row["alpha"] for row in points] == [pytest.approx(i / 6) for i in range(7)]
    assert whole["barrier"] == barrier([row["error"] for row in points])
    assert whole["loss_barrier"] == barrier([row["loss"] for row in points])
    assert whole["end_error"] == (points[0]["error"] + points[-1]["error"]) / 2
    assert points[0]["error"] == pytest.approx(100 * (1 - study_of(directory, "SNIP").record.test.last.accuracy))
    assert {row["batch_norm"] for row in rows} == {"none"}


def test_other_initial_weights_are_further_away_than_another_order(directory):
    study = study_of(directory, "dense")
    orders, drawn = ([*Barrier(points=7, ends=ends)(study)][-1]["barrier"] for ends in ("orders", "initialisations"))
    assert orders < STABLE < drawn


def test_hidden_units_in_another_order_make_a_barrier_that_alignment_removes(directory):
    study = study_of(directory, "dense")
    final, draws = study.ticket.final, torch.Generator().manual_seed(0)
    units = hidden_units(study.network(), study.session().input_shape)
    other = permuted(final, units, [torch.randperm(len(group), generator=draws) for group in units])
    assert study.test(other).error == pytest.approx(study.test(final).error, abs=0.01)
    assert 100 * error_barrier(study, final, other) > STABLE
    back = aligned(study, other, final)
    assert states_equal(back, final) and error_barrier(study, final, back) == 0.0


def test_running_statistics_are_interpolated_or_estimated_anew_at_every_point(normed):
    study = study_of(normed, "dense")
    one, other = study.ticket.final, Barrier().trained(study, 1)
    assert batch_norms(one) == ("recomputed", "interpolated")
    name = next(name for name in one if name.endswith("running_var"))
    _, middle, _ = states(study, one, other, 3, "interpolated")
    assert torch.allclose(middle[name], (one[name] + other[name]) / 2)
    _, anew, _ = states(study, one, other, 3, "recomputed")
    session = study.session()
    load(session.model, middle)
    recalibrate(session)
    assert torch.equal(anew[name], session.model.state_dict()[name]) and not torch.allclose(anew[name], middle[name])
    weights = [key for key in one if "running" not in key and "tracked" not in key]
    assert all(torch.equal(anew[key], middle[key]) for key in weights)
    rows = list(Barrier(points=2)(study))
    assert [row["batch_norm"] for row in rows] == ["recomputed"] * 3 + ["interpolated"] * 3


def test_a_ticket_that_is_not_trained_has_no_barrier(directory):
    study = study_of(directory, "SNIP")
    untrained = dataclasses.replace(study.ticket, step=study.session().total_steps, final=study.ticket.start)
    study.subject.__dict__["ticket"] = untrained
    with pytest.raises(Unsuitable, match="not trained under its mask, so that two trainings are one"):
        next(iter(Barrier()(study)))


def test_from_a_later_step_both_trainings_share_the_dense_weights_of_that_step(directory):
    study = study_of(directory, "SNIP")
    dense, session = study.session(), study.session(order=1)
    dense.train("1ep")
    snapshot = dense.snapshot()
    session.adopt(study.ticket.masks)
    session.rewind(snapshot)
    session.train()
    assert states_equal(rewound(study, snapshot, 1), session.snapshot().state)
    assert states_equal(Barrier(rewind_to=Duration("1ep")).trained(study, 1), session.snapshot().state)
    late = [*Barrier(points=5, rewind_to=Duration("95%"))(study)][-1]["barrier"]
    assert 0 <= late < 2, "near the end, little is left to differ"


def test_the_sweep_trains_the_mask_from_every_step_and_compares_with_the_dense_network(directory):
    study = study_of(directory, "SNIP")
    total = study.session().total_steps
    rows = list(RewindSweep(shares=(0.0, 0.001, 0.5), points=3)(study))
    assert [row["step"] for row in rows] == [0, round(total / 2)], "shares of one step are one row"
    assert [row["share"] for row in rows] == [0, 50]
    dense = study.test(study_of(directory, "dense").ticket.final).accuracy
    ends = [rewound(study, study.session().snapshot(), order) for order in (0, 1)]
    assert states_equal(ends[0], study.ticket.final)
    accuracy = sum(study.test(end).accuracy for end in ends) / 2
    assert rows[0]["accuracy"] == pytest.approx(100 * accuracy)
    assert rows[0]["lost"] == pytest.approx(100 * (dense - accuracy))
    assert rows[0]["barrier"] == pytest.approx(100 * error_barrier(study, *ends, points=3))


def test_a_mask_matches_where_the_mean_loses_at_most_a_fifth_of_a_point():
    experiment = {"key": "k", "dataset": "d", "model": "m", "recipe": "r", "method": "IMP", "family": "", "control": ""}
    numbers = {"target": 0.9, "sparsity": 0.9, "accuracy": 97.0, "barrier": 1.0}
    lost = {(0, 0.0): 0.9, (1, 0.0): 0.5, (0, 2.0): 0.3, (1, 2.0): 0.1, (0, 5.0): 0.3, (1, 5.0): 0.12}
    rows = pd.DataFrame(
        [
            {**experiment, **numbers, "seed": seed, "share": share, "step": 1, "lost": value}
            for (seed, share), value in lost.items()
        ]
    )
    table = RewindSweep().table(rows)
    assert table["share"].tolist() == [0, 2, 5] and table["matches"].tolist() == ["no", "yes", "no"]
