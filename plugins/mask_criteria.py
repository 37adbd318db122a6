"""Mask criteria: which weights of a trained network to keep, and what to set kept and pruned weights to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Rate, Share, hookimpl, layer_rates, layerwise, layerwise_rounds
from lth_bench_plugins.papers import ZHOU_2019

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from lth_bench.training.session import Session
    from lth_bench.training.state import Snapshot

    Values = dict[str, Tensor]

Criterion = Literal[
    "large_final",
    "small_final",
    "large_init",
    "small_init",
    "large_init_large_final",
    "small_init_small_final",
    "magnitude_increase",
    "movement",
    "random",
    "large_final_same_sign",
    "large_final_diff_sign",
    "magnitude_increase_same_sign",
    "magnitude_increase_diff_sign",
]
Kept = Literal[
    "initial",
    "final",
    "random_reinit",
    "random_reshuffle",
    "random_constant",
    "signed_reinit",
    "signed_reshuffle",
    "signed_constant",
]


@dataclass(frozen=True)
class Round:
    """A round of training: by layer, the weights at its start and at its end, and the masks in force."""

    initial: Values
    final: Values
    masks: Values


@dataclass(frozen=True)
class MaskCriteria:
    """Train, keep the weights of every layer that a criterion prefers, set kept and pruned weights, and train again.

    Zhou et al. 2019, arXiv:1905.01067, sections 2 to 5. `criterion` scores a weight by its initial and its final value;
    "same_sign" and "diff_sign" count a weight as zero unless its sign is the same in both, or different. `rate` and
    `output_rate` are those of layer-wise iterative pruning; `rounds` "one_shot" prunes to its last masks at once.

    `kept` sets the kept weights: to their "initial" or "final" values; to a permutation of their layer's initial values
    ("reinit") or of those of its kept weights ("reshuffle"); or to the standard deviation of its initial values
    ("constant"), each with the sign of the initial weight ("signed") or without regard to it ("random"). `pruned`
    weights are zero, or frozen at their "initial" values, or frozen there if they moved away from zero and at zero
    otherwise ("by_movement"); the record then has the sparsity that is measured. With `retraining` "none" nothing is
    trained under the last mask: a supermask by criterion, section 5.1.

    Deviations:
    - Batch norm has its initial running statistics, or the final ones with "final" weights (the paper's networks have
      no batch norm).
    """

    title = "mask criteria"
    family = "after training"
    paper = ZHOU_2019

    criterion: Criterion = "large_final"
    rate: Rate = 0.2
    output_rate: Share | None = None
    rounds: Literal["iterative", "one_shot"] = "iterative"
    kept: Kept = "initial"
    pruned: Literal["zero", "initial", "by_movement"] = "zero"
    retraining: Literal["full", "none"] = "full"

    def __call__(self, session: Session) -> None:
        if self.pruned != "zero":
            session.note("off_target", "pruned weights are not zero")
        start, targets = session.snapshot(), self.targets(session)
        initial, masks = weights(session), dict(session.masks)
        session.train()
        for number, target in enumerate(targets, 1):
            round = Round(initial, weights(session), masks)
            masks = self.choose(session, round, target)
            initial = self.go_back(session, start, round, masks)
            if self.retraining == "full" or number < len(targets):
                session.train()

    def targets(self, session: Session) -> Sequence[dict[str, float]]:
        rates = layer_rates(session, self.rate, self.output_rate)
        if self.rounds == "iterative":
            return layerwise_rounds(session.shapes, session.sparsity, rates)
        return [layerwise(session.shapes, session.sparsity, rates)] if session.sparsity else []

    def choose(self, session: Session, round: Round, target: dict[str, float]) -> Values:
        """The masks of the next round; they are in force already if pruned weights are zero."""
        from lth_bench.pruning.masks import pruned

        scores = self.scores(round, session.rng)
        if self.pruned != "zero":
            return pruned(scores, round.masks, target)
        session.prune(scores, target)
        return dict(session.masks)

    def scores(self, round: Round, rng: torch.Generator) -> Values:
        """Ranks within each layer; pruned weights come first, and ties of the criterion are broken at random."""
        from lth_bench_plugins.parametrisations.criteria import preference, ranks

        return {
            layer: ranks(preference(self.criterion, round.initial[layer], round.final[layer], mask, rng), mask, rng)
            for layer, mask in round.masks.items()
        }

    def go_back(self, session: Session, start: Snapshot, round: Round, masks: Values) -> Values:
        """Sets the weights that the next round starts from, and returns them."""
        from lth_bench_plugins.parametrisations.partly_frozen import PartlyFrozen

        if self.pruned != "zero":
            session.bake()
        if self.kept == "final":
            session.rewind_clock(start.step)
        else:
            session.rewind(start)
        initial = {
            layer: self.value(start.state[layer], round.final[layer], mask, session.rng).where(
                mask, self.elsewhere(start.state[layer], round, layer)
            )
            for layer, mask in masks.items()
        }
        for layer, weight in session.weights.items():
            weight.data.copy_(initial[layer])
        if self.pruned != "zero":
            session.parametrize(lambda layer, weight: PartlyFrozen(masks[layer], initial[layer]))
        return initial

    def value(self, initial: Tensor, final: Tensor, mask: Tensor, rng: torch.Generator) -> Tensor:
        """The values for the kept weights of a layer."""
        from lth_bench_plugins.parametrisations.criteria import redrawn

        if self.kept in ("initial", "final"):
            return final if self.kept == "final" else initial
        return redrawn(self.kept, initial, mask, rng)

    def elsewhere(self, first: Tensor, round: Round, layer: str) -> Tensor:
        """The values for the pruned weights of a layer; weights that were pruned before keep theirs."""
        initial, final, mask = round.initial[layer], round.final[layer], round.masks[layer]
        if self.pruned == "by_movement":
            first = first.where(final.abs() >= initial.abs(), 0.0)
        return initial.new_zeros(initial.shape) if self.pruned == "zero" else first.where(mask, initial)


def weights(session: Session) -> Values:
    """Copies of the prunable weights; a parametrised weight has the value that is in force."""
    from lth_bench.pruning.parametrisation import dense_state

    state = dense_state(session.model)
    return {layer: state[layer].clone() for layer in session.shapes}


@hookimpl
def register_pruners(register):
    register("mask_criteria", MaskCriteria)
