"""The analysis of signs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lth_bench_plugins.signs import Signs, agreement
from support.analyses import study_of
from support.suites import finish, pruner, write_suite


@pytest.fixture
def directory(tmp_path):
    folder = tmp_path
    pruners = pruner("dense", sparsities=[0]) + pruner("snip", controls=["redraw"])
    finish(write_suite(folder / "s.toml", pruners, duration="2ep", sparsities=[0.9]), folder / "run")
    return folder / "run"


def test_signs_by_hand():
    before, after = torch.tensor([1.0, -2.0, 3.0, -4.0, 0.0, 5.0]), torch.tensor([2.0, -1.0, -3.0, -4.0, 7.0, 0.0])
    found = agreement(before, after)
    assert found == {"agreement": 3 / 4, "weighted_agreement": 7 / 10, "flips": 1}
    assert agreement(before[:0], after[:0]) == {}


def test_a_ticket_by_hand_is_counted_where_its_mask_keeps(directory):
    study = study_of(directory, "SNIP")
    ticket, initial = study.ticket, study.initial
    name = "fc3.weight"
    masks = {layer: torch.zeros_like(mask) for layer, mask in ticket.masks.items()}
    masks[name][0, :4] = True
    final = {layer: value.clone() for layer, value in initial.items()}
    final[name] *= -1  # all signs turn, those of pruned weights too
    final[name][0, 0] = initial[name][0, 0]
    made = dataclasses.replace(ticket, masks=masks, start=initial, final=final)
    rows = {row["layer"]: row for row in Signs(moments=0)(study_of(directory, "SNIP", ticket=made))}
    assert rows["all"]["agreement"] == rows[name]["agreement"] == 1 / 4 and rows[name]["flips"] == 3
    assert set(rows["fc1.weight"]) == {"layer"}, "a layer without kept weights has no signs"


def test_moments_follow_the_training_of_the_ticket(directory):
    study = study_of(directory, "dense")
    rows = [row for row in Signs(moments=4)(study) if "step" in row and row["layer"] == "all"]
    (session,) = [session for _, session in study.sessions]
    assert [row["step"] for row in rows] == [round(session.total_steps * part / 4) for part in (1, 2, 3, 4)]
    masks, start, final = (getattr(study.ticket, part) for part in ("masks", "start", "final"))
    turned = torch.cat([(start[name].sign() * final[name].sign() < 0)[mask] for name, mask in masks.items()])
    assert rows[-1]["flipped"] == float(turned.double().mean()), "its own training is what the ticket came from"
    assert 0 < rows[0]["flipped"] <= rows[-1]["flipped"] * 2


def test_a_control_that_draws_new_weights_is_compared_with_those(directory):
    study = study_of(directory, "SNIP, redraw")
    rows = {row["layer"]: row for row in Signs(moments=0)(study)}
    own, first = study.ticket.start["fc1.weight"], study.initial["fc1.weight"]
    mask, final = study.ticket.masks["fc1.weight"], study.ticket.final["fc1.weight"]
    assert rows["fc1.weight"]["agreement"] == agreement(own[mask], final[mask])["agreement"] > 0.8
    assert agreement(first[mask], final[mask])["agreement"] < 0.7
