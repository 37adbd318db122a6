"""FORCE: progressive skeletonisation, in which weights may come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Count, hookimpl
from lth_bench_plugins.iterative_snip import fresh
from lth_bench_plugins.synflow import exponential_rounds

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.pruning.masks import Masks
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class FORCE:
    """Round by round, choose anew among all weights those that the thinned network needs, then train.

    De Jorge et al. 2021, arXiv:2006.09081, section 4, algorithm 1: in every round the score of a weight is |gradient in
    the thinned network × initial weight|, for weights that are out as well, which may so come back. Only the last
    round's choice prunes. Schedule, batches and defaults as for iterative SNIP.

    Deviations:
    the examples are not augmented (in the authors' code they are).
    """

    rounds: Count = 60
    examples: Count = 128
    batches: Count = 1
    batch_statistics: bool = True

    def __call__(self, session: Session) -> None:
        from lth_bench.pruning.masks import pruned

        masks = session.masks
        for round, sparsity in enumerate(exponential_rounds(session.sparsity, self.rounds)):
            scores = self.scores(session, masks, fresh(session, self.examples, self.batches, round))
            masks = pruned(scores, session.masks, sparsity)
        session.prune(scores)
        session.train()

    def scores(self, session: Session, masks: Masks, batches: list[Batch]) -> dict[str, Tensor]:
        """Sensitivities of all weights in the network that the masks leave."""
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
