"""SNIP: single-shot pruning by connection sensitivity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Count, Paper, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class SNIP:
    """Keep the weights whose removal would change the loss most at initialisation, then train.

    Lee et al. 2019, arXiv:1810.02340, equation 5: the score of a weight is |gradient × weight|, divided by the sum over
    all weights. `examples` training examples make one batch; with `batch_statistics`, batch norm uses the statistics of
    the batch for scoring instead of the running ones.

    Deviations:
    - The recipe's label smoothing is part of the loss.
    - Biases are neither scored nor pruned.
    - The weights that were scored are trained (the authors' code draws weights anew).
    """

    title = "SNIP"
    family = "before training"
    paper = Paper(
        "lee2019snip",
        "SNIP: Single-shot Network Pruning based on Connection Sensitivity",
        "Namhoon Lee and Thalaiyasingam Ajanthan and Philip H. S. Torr",
        "ICLR",
        2019,
        arxiv="1810.02340",
        code="https://github.com/namhoonlee/snip-public",
    )

    examples: Count = 100
    batch_statistics: bool = False

    def __call__(self, session: Session) -> None:
        session.prune(self.scores(session, [session.sample(self.examples)]))
        session.train()

    def scores(self, session: Session, batches: list[Batch]) -> dict[str, Tensor]:
        """Sensitivities that sum to 1, from the sum of the gradients of the batches' mean losses."""
        with session.scoring(training=self.batch_statistics):
            for batch in batches:
                session.loss(batch).backward()
            scores = {name: (weight.grad * weight).detach().abs() for name, weight in session.weights.items()}
        total = sum(score.sum() for score in scores.values())
        return {name: score / total for name, score in scores.items()}


@hookimpl
def register_pruners(register):
    register("snip", SNIP)
