"""The analysis of movement, on trainings whose movement is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lth_bench.errors import Unsuitable
from lth_bench_plugins.movement import Movement
from support.analyses import study_of
from support.suites import finish, pruner, write_suite

LAYER = "fc1.weight"


@pytest.fixture
def directory(tmp_path):
    pruners = pruner("dense", sparsities=[0]) + pruner("random")
    finish(write_suite(tmp_path / "s.toml", pruners, duration="1ep", sparsities=[0.9]), tmp_path / "run")
    return tmp_path / "run"


def moved(directory, masks, movement):
    """The rows of a ticket with these masks, of a dense training that has moved each layer by `movement(weights)`."""
    dense = study_of(directory, "dense")
    final = {name: value.clone() for name, value in dense.initial.items()}
    for name in dense.ticket.masks:
        final[name] += movement(name, dense.initial[name])
    study_of(directory, "dense", ticket=dataclasses.replace(dense.ticket, final=final))
    ticket = dataclasses.replace(study_of(directory, "random").ticket, masks=masks(final))
    return {row["layer"]: row for row in Movement()(study_of(directory, "random", ticket=ticket))}


def masks_of(directory, kept):
    """By layer, True where `kept(place)` holds of the place of a weight."""
    shapes = {name: mask.shape for name, mask in study_of(directory, "random").ticket.masks.items()}
    return {name: kept(torch.arange(shape.numel())).view(shape) for name, shape in shapes.items()}


def test_weights_that_are_kept_and_moved_twice_as_far_have_a_ratio_of_two_and_an_auc_of_one(directory):
    masks = masks_of(directory, lambda place: place % 10 == 0)
    rows = moved(directory, lambda final: masks, lambda name, weights: 0.5 + 0.5 * masks[name].float())
    for row in rows.values():
        assert row["kept"] == pytest.approx(1.0) and row["pruned"] == pytest.approx(0.5)
        assert row["ratio"] == pytest.approx(2.0)
        assert row["auc"] == row["conditional_auc"] == 1.0
    assert rows["all"]["random_auc"] == pytest.approx(0.5, abs=0.01)


def test_equal_movement_is_a_tie_everywhere(directory):
    masks = masks_of(directory, lambda place: place % 4 == 0)
    rows = moved(
        directory,
        lambda final: masks,
        lambda name, weights: 0.25 * torch.ones_like(weights).where(weights < 0, -torch.ones_like(weights)),
    )
    assert rows["all"]["kept"] == pytest.approx(0.25, rel=1e-5)
    assert rows["all"]["auc"] == pytest.approx(0.5, abs=0.06), "what is left are rounding errors"


def test_where_movement_is_independent_of_the_weights_size_explains_all_of_what_large_weights_moved(directory):
    """Half of the effect is mechanical: the largest final weights have moved further even where movement is noise."""
    generator = torch.Generator().manual_seed(0)

    def noise(name, weights):
        return 0.05 * torch.randn(weights.shape, generator=generator)

    def largest(final):
        masks = study_of(directory, "random").ticket.masks
        tenth = {name: final[name].abs().flatten().kthvalue(int(0.9 * final[name].numel())).values for name in masks}
        return {name: final[name].abs() > tenth[name] for name in masks}

    whole = moved(directory, largest, noise)["all"]
    assert whole["auc"] > 0.6, "kept weights moved further"
    assert whole["auc"] == pytest.approx(whole["mechanical_auc"], abs=0.01), "but no further than size alone makes them"
    assert whole["random_auc"] == pytest.approx(0.5, abs=0.01)


def test_a_ticket_that_prunes_nothing_does_not_suit(directory):
    with pytest.raises(Unsuitable, match="prunes nothing"):
        list(Movement()(study_of(directory, "dense")))


def test_the_dense_training_is_done_again_where_the_directory_has_no_dense_experiment(tmp_path):
    finish(write_suite(tmp_path / "s.toml", pruner("snip"), duration="1ep", sparsities=[0.9]), tmp_path / "run")
    study = study_of(tmp_path / "run", "SNIP")
    rows = list(Movement()(study))
    (session,) = [session for _, session in study.sessions]
    assert session.step == session.total_steps and session.account.spent.steps_computed > 0
    assert rows[0]["kept"] > 0
