"""Golden checks of mask criteria: which weights of a trained network to keep."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from golden.agreement import assert_masks_equal, layer_sparsities
from golden.cases import Case, Difference, Unchecked
from golden.networks import weights_session
from lth_bench.training.session import Session
from lth_bench_plugins.mask_criteria import Round
from lth_bench_plugins.parametrisations.criteria import preference
from support.pairs import pruner

Values = dict[str, Tensor]
NEAREST = {"snip": "large_final", "grad": "movement"}
"""Ours for criteria that we have not; their masks have to differ."""


def check_criterion(case: Case) -> None:
    initial, first = (by_layer(case, case.arrays(name)[""]) for name in ("w_init", "w_final"))
    before = {layer: torch.ones_like(weight, dtype=torch.bool) for layer, weight in initial.items()}
    masks = {name: official(case, name) for name in mask_names(case)}
    for name in (name for name in masks if "power" in name):
        check_mask(case, Round(initial, first, before), masks[name])
    for number in range(1, 1 + sum("round" in name for name in masks)):
        final = by_layer(case, case.own(f"w_final_round{number}")[""]) if number > 1 else first
        check_mask(case, Round(initial, final, before), masks[f"mask_round{number}"])
        before = masks[f"mask_round{number}"]


def mask_names(case: Case) -> list[str]:
    return sorted({name.split("/")[0] for name in case.own() if re.match(r"mask_(round|power)\d+/all", name)})


def official(case: Case, name: str) -> Values:
    return {layer: mask.bool() for layer, mask in by_layer(case, case.own(f"{name}/all")[""]).items()}


def by_layer(case: Case, row: Tensor) -> Values:
    """The weights, without biases, of all variables in one row."""
    shapes = case.meta["shapes"]
    parts = zip(row.split([torch.Size(shape).numel() for shape in shapes]), shapes, strict=True)
    weights = [part.view(shape) for part, shape in parts if len(shape) > 1]
    return {f"layer{number}.weight": weight for number, weight in enumerate(weights)}


def method(case: Case) -> str:
    return case.called_with(r"--method (\w+)") or case.variant


def check_mask(case: Case, round: Round, expected: Values) -> None:
    name = NEAREST.get(method(case), method(case).removesuffix("_single"))
    if name == "random":
        raise Unchecked("a criterion by chance ranks every weight by the official code's own random numbers")
    session = weights_session(round.initial)
    session.adopt(round.masks)
    session.prune(pruner("mask_criteria", {"criterion": name}).scores(round, session.rng), layer_sparsities(expected))
    if case.facts.get("exact_mask_comparable", True):
        assert_masks_equal(session, expected)
    else:
        assert_decided_masks_equal(name, round, session, expected)


def assert_decided_masks_equal(criterion: str, round: Round, session: Session, expected: Values) -> None:
    """What is tied at the threshold is drawn at random, with us as in the authors' code."""
    for layer, mask in expected.items():
        alive = round.masks[layer]
        values = preference(criterion, round.initial[layer], round.final[layer], alive, session.rng)
        lowest = values[session.masks[layer]].min()
        decided = alive & (values != lowest)
        assert torch.equal(session.masks[layer] & decided, mask & decided)
        assert session.masks[layer].sum() == mask.sum()


CHECKS = {"maskcriteria": check_criterion}
NOT_COMPARABLE = [
    Difference(
        "maskcriteria",
        lambda case: method(case) == "large_final_diff_sign_single",
        "the second round keeps what the first pruned",
    ),
    Difference(
        "maskcriteria",
        lambda case: method(case) in NEAREST,
        "a criterion by gradient, which is no criterion of mask_criteria",
    ),
]
