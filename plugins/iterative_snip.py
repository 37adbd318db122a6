"""Iterative SNIP: connection sensitivity, computed anew in every round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Count, hookimpl
from lth_bench.pruning.allocation import density_of, kept_count, sizes_of
from lth_bench_plugins.papers import DE_JORGE_2021

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class IterativeSNIP:
    """Round by round, keep the weights to which the pruned network is most sensitive at initialisation, then train.

    De Jorge et al. 2021, arXiv:2006.09081, section 4: in every round the score of a weight is |gradient × weight| in
    the network as pruned so far, where the gradients of the mean losses of `batches` fresh batches of `examples` are
    summed; pruned weights stay pruned. The number of remaining weights falls exponentially over the `rounds`. The
    defaults are those of the authors' commands for CIFAR-10 (10 batches for CIFAR-100, 20 for Tiny-ImageNet), and so
    are the batch statistics in batch norm.

    Deviations:
    - The last round meets the target exactly (in the authors' code it rounds down, as all rounds do).
    - The recipe's label smoothing is part of the loss.
    - The examples are not augmented (in the authors' code they are).
    """

    title = "iterative SNIP"
    family = "before training"
    paper = DE_JORGE_2021

    revision = 2

    rounds: Count = 60
    examples: Count = 128
    batches: Count = 1
    batch_statistics: bool = True

    def __call__(self, session: Session) -> None:
        size = sum(sizes_of(session.shapes).values())
        for round, count in enumerate(kept_counts(session.sparsity, size, self.rounds)):
            batches = fresh(session, self.examples, self.batches, round)
            session.prune(self.scores(session, batches), 1 - count / size)
        session.train()

    def scores(self, session: Session, batches: list[Batch]) -> dict[str, Tensor]:
        with session.scoring(training=self.batch_statistics):
            for batch in batches:
                session.loss(batch).backward()
            return {name: (weight.grad * weight).detach().abs() for name, weight in session.weights.items()}


def kept_counts(sparsity: float, size: int, rounds: int) -> list[int]:
    """The number of `size` weights that each round keeps, rounded down as in the authors' code; at last, the target."""
    logarithm, target = math.log(density_of(sparsity)), kept_count(sparsity, size)
    densities = [math.exp(number * logarithm / rounds) for number in range(1, rounds)]
    return [*(max(int(size * density), target) for density in densities), target]


def fresh(session: Session, examples: int, batches: int, round: int) -> list[Batch]:
    """Batches to score on, other ones in every round."""
    return [session.sample(examples, round * batches + number) for number in range(batches)]


@hookimpl
def register_pruners(register):
    register("iterative_snip", IterativeSNIP)
