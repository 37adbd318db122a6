"""FORCE: progressive skeletonisation, where removed weights may come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Count, hookimpl
from lth_bench.pruning.allocation import sizes_of
from lth_bench_plugins.iterative_snip import fresh, kept_counts
from lth_bench_plugins.papers import DE_JORGE_2021

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.pruning.masks import Masks
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class FORCE:
    """Round by round, choose among all weights those to which the sparse network is most sensitive, then train.

    De Jorge et al. 2021, arXiv:2006.09081, section 4, algorithm 1: in every round the score of a weight is |gradient in
    the sparse network × initial weight|, also for weights that the round before removed, so that they may come back.
    Only the choice of the last round prunes. Schedule, batches and defaults are those of iterative SNIP.

    Deviations:
    - The last round meets the target exactly (in the authors' code it rounds down, as all rounds do).
    - The recipe's label smoothing is part of the loss.
    - The examples are not augmented (in the authors' code they are).
    """

    title = "FORCE"
    family = "before training"
    paper = DE_JORGE_2021

    revision = 2

    rounds: Count = 60
    examples: Count = 128
    batches: Count = 1
    batch_statistics: bool = True

    def __call__(self, session: Session) -> None:
        from lth_bench.pruning.masks import pruned

        masks, size = session.masks, sum(sizes_of(session.shapes).values())
        for round, count in enumerate(kept_counts(session.sparsity, size, self.rounds)):
            scores = self.scores(session, masks, fresh(session, self.examples, self.batches, round))
            masks = pruned(scores, session.masks, 1 - count / size)
        session.prune(scores)
        session.train()

    def scores(self, session: Session, masks: Masks, batches: list[Batch]) -> dict[str, Tensor]:
        """Sensitivities of all weights, with gradients in the network under these masks."""
        with session.scoring(training=self.batch_statistics):
            for name, weight in session.weights.items():
                weight.data.mul_(masks[name])
            for batch in batches:
                session.loss(batch).backward()
            gradients = {name: weight.grad for name, weight in session.weights.items()}
        return {name: (gradient * session.weights[name]).detach().abs() for name, gradient in gradients.items()}


@hookimpl
def register_pruners(register):
    register("force", FORCE)
