"""Golden checks of AC/DC: its masks, when they change, and what weights come to when they are trained through it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from golden.agreement import Values, allowance, assert_chosen, assert_scores_close, share_pruned
from golden.cases import Case, Difference
from golden.networks import examples, network_session, weights_session
from lth_bench.data.batches import BatchOrder
from lth_bench.data.examples import Batch, Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import Pattern
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.scores import magnitude
from lth_bench.pruning.masks import kept
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.pairs import pruner


class InOrder(BatchOrder):
    """Batches in the order of the examples, the same in every epoch."""

    def batch(self, step: int) -> Batch:
        start = step % self.steps_per_epoch * self.recipe.batch_size
        return self.data.batch(slice(start, start + self.recipe.batch_size))


class Followed(Session):
    """A Session on batches in order that remembers its weights and masks after every update."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.order = InOrder(setup.training, setup.recipe, setup.seed)
        self.trained: list[tuple[Values, Values]] = []

    def update(self) -> None:
        super().update()
        self.trained.append(({name: weight.detach().clone() for name, weight in self.weights.items()}, self.masks))


def check_masks(case: Case) -> None:
    """The largest weights of the layers that the official code is given; under a pattern, of every group."""
    weights = {name: weight.detach() for name, weight in network_session(case).weights.items() if name in case.mask}
    pattern = Pattern(case.facts["N"], case.facts["M"]) if "M" in case.facts else None
    session = weights_session(weights, pattern)
    scores = magnitude(session)
    if "first" in case.facts:
        session.prune(scores, case.facts["first"])
    session.prune(scores, session.sparsity if pattern else share_pruned(case.mask))
    assert_chosen(session, case.mask, scores, allowance(case))


def check_schedule(case: Case) -> None:
    begins, ends = (case.own(name)[""].tolist() for name in ("prune_epochs", "restore_epochs"))
    epochs = case.facts["epochs"]
    network = weights_session({"layer.weight": torch.ones(2, 2)}).model
    session = followed(network, examples(case), Recipe(Duration(f"{epochs}it"), 1, 0.1))
    phases = acdc("it", begins[0], ends[0] - begins[0], epochs - begins[-1]).compressed(session)
    assert phases == [*zip(begins, [*ends, epochs], strict=True)]
    sparse = [any(start <= epoch < stop for start, stop in phases) for epoch in range(epochs)]
    assert sparse == case.own("sparse")[""].bool().tolist()


def check_training(case: Case) -> None:
    """Two batches an epoch, at the number of weights that the official code keeps."""
    facts, masks, batch = case.facts, case.masks, examples(case)
    begins, ends = (
        range(facts[name][0], facts[name][2], facts[name][1]) for name in ("prune_epochs", "restore_epochs")
    )
    momentum = "reset" if case.called_with(r"recycling=(True)") else "kept"
    method = acdc("ep", begins[0], ends[0] - begins[0], facts["epochs"] - begins[-1], momentum)
    options = {name: facts[name] for name in ("momentum", "weight_decay")}
    recipe = Recipe(Duration(f"{facts['epochs']}ep"), len(batch.labels) // 2, facts["lr"], **options)
    session = followed(network_session(case).model, batch, recipe, share_pruned(next(iter(masks.values()))))
    method(session)
    for number, (weights, in_force) in enumerate(session.trained[1::2]):
        if f"mask_{number}" in masks:
            assert all(torch.equal(mask, in_force[name]) for name, mask in masks[f"mask_{number}"].items()), number
        assert_scores_close(weights, case.own(f"w_end_{number}/"), allowance(case))
    counts = [sum(kept(in_force).values()) for _, in_force in session.trained[1::2]]
    assert counts == case.own("kept_per_epoch")[""].tolist()


def acdc(unit: str, warmup: int, phase: int, last: int, momentum: str = "reset") -> Any:
    spans = {"warmup": warmup, "phase": phase, "last": last}
    return pruner("acdc", {name: f"{span}{unit}" for name, span in spans.items()} | {"momentum": momentum})


def followed(network: nn.Module, batch: Batch, recipe: Recipe, sparsity: float = 0.5) -> Followed:
    data = Examples(batch.inputs, batch.labels)
    return Followed(Setup(lambda seed: network, data, data, recipe, sparsity, 0))


CHECKS = {"acdc": check_masks, "acdc_phases": check_training, "acdc_schedule": check_schedule}
NOT_COMPARABLE: list[Difference] = []
