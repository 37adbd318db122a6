"""SET: sparse training that grows random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt

from lth_bench import Duration, Paper, Rate, chance, hookimpl
from lth_bench.methods.sparse_training import (
    Annealing,
    Distribution,
    annealed,
    dropped,
    evolve,
    grown,
    layer_sparsities,
    update_steps,
)

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.pruning.masks import Masks, Scores
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class SET:
    """Start from a random sparse network; after every epoch, drop the weights nearest to zero and grow random ones.

    Mocanu et al. 2018, arXiv:1707.04780, algorithm 1: the smallest share `drop_fraction` of each layer's positive
    weights is dropped, and the same share of its negative weights (`drop` "sign"). Later papers drop by magnitude: with
    `drop` "magnitude", `distribution` "erk", `annealing` "cosine", `interval` "100it" and `until` "75%" this is SET as
    in Evci et al. 2020, arXiv:1911.11134. The share of weights that were ever active is noted as `explored` (Liu et al.
    2021, arXiv:2102.02887, whose SET-ITOP is `itop` with `growth` "random"). `training` multiplies the length of the
    recipe.

    Deviations:
    - The sparsity is the target, not that of the paper's ε, and exact at every step.
    - A change of the topology replaces the first training step of an epoch.
    - Of each sign the share of weights is rounded down (in the authors' code, that of positive weights to one more, and
      that of negative weights up).
    - Weights that were just dropped may be grown again and then keep their value (in the authors' code they start at
      zero).
    """

    title = "SET"
    family = "dynamic"
    paper = Paper(
        "mocanu2018scalable",
        "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by network science",
        "Decebal Constantin Mocanu and Elena Mocanu and Peter Stone and Phuong H. Nguyen and Madeleine "
        "Gibescu and Antonio Liotta",
        "Nature Communications",
        2018,
        arxiv="1707.04780",
        is_journal=True,
        code="https://github.com/dcmocanu/sparse-evolutionary-artificial-neural-networks",
    )

    distribution: Distribution = "er"
    interval: Duration = Duration("1ep")
    drop_fraction: Rate = 0.3
    drop: Literal["sign", "magnitude"] = "sign"
    annealing: Annealing = "constant"
    until: Duration = Duration("100%")
    training: Annotated[float, Gt(0)] = 1.0

    def __call__(self, session: Session) -> None:
        session.stretch(self.training)
        updates = update_steps(session, self.interval, self.until)
        session.prune(chance(session), layer_sparsities(session, self.distribution, session.sparsity))

        def rewired(batch):
            fraction = annealed(self.drop_fraction, self.annealing, session.step, updates.stop)
            return self.masks(session, chance(session), fraction)

        evolve(session, updates[1:], rewired)

    def masks(self, session: Session, growth: Scores, fraction: float) -> Masks:
        """Masks in which a share of each layer's weights is dropped and as many are grown by a score."""
        return {
            name: self.exchanged(mask, session.weights[name].detach(), growth[name], fraction)
            for name, mask in session.masks.items()
        }

    def exchanged(self, mask: Tensor, weight: Tensor, growth: Tensor, fraction: float) -> Tensor:
        remaining = self.remaining(mask, weight, fraction)
        return grown(remaining, growth, int(mask.count_nonzero()) - int(remaining.count_nonzero()))

    def remaining(self, mask: Tensor, weight: Tensor, fraction: float) -> Tensor:
        """The mask without the share of weights nearest to zero."""
        groups = [mask & (weight >= 0), mask & (weight < 0)] if self.drop == "sign" else [mask]
        counts = [int(fraction * int(group.count_nonzero())) for group in groups]
        return sum(dropped(group, weight.abs(), count) for group, count in zip(groups, counts, strict=True)).bool()


@hookimpl
def register_pruners(register):
    register("set", SET)
