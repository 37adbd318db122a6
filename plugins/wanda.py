"""Wanda: pruning by weights and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Count, Duration, Paper, hookimpl, uniform
from lth_bench.methods.calibration import input_norms
from lth_bench.methods.retraining import RetrainingOrNone, prune_trained
from lth_bench.methods.scores import ByLayer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Wanda:
    """Train, then remove from every row the weights of smallest |w| times the norm of their input, and do no more.

    Sun et al. 2024, arXiv:2306.11695, section 3. A row holds the weights of one output (of a convolution: of one
    filter), and norms are over calibration examples, `examples` images of the training split, in the trained network.
    Under a pattern N:M, the N highest scores of every M consecutive inputs of a row are kept. `retraining` may follow,
    as that of one-shot magnitude pruning, which the paper does without.

    Deviations:
    - All prunable layers are pruned (the authors' code for images: linear layers inside blocks).
    - Norms are those in the dense network (in the authors' code for language models, blocks see what pruned ones put
      out), and layers that cannot hold a pattern stay dense (there, a last, shorter group is pruned too).
    - So that the target is hit to one weight, some rows of a layer lose one weight more than the others: those whose
      next weight scores lowest (the authors' code rounds down in every row).
    """

    title = "Wanda"
    family = "after training"
    paper = Paper(
        "sun2024simple",
        "A Simple and Effective Pruning Approach for Large Language Models",
        "Mingjie Sun and Zhuang Liu and Anna Bair and J. Zico Kolter",
        "ICLR",
        2024,
        arxiv="2306.11695",
        code="https://github.com/locuslab/wanda",
    )

    examples: Count = 128
    retraining: RetrainingOrNone = "none"
    rewind_to: Duration = Duration("0it")

    def __call__(self, session: Session) -> None:
        prune_trained(session, lambda: self.prune(session), self.retraining, self.rewind_to)

    def prune(self, session: Session) -> None:
        scores = self.scores(session, [session.sample(self.examples)])
        if session.pattern:
            session.prune(scores)
        else:
            session.prune(self.by_row(scores, session.sparsity), uniform(session.shapes, session.sparsity))

    def scores(self, session: Session, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        norms, weights = input_norms(session, batches), session.weights
        return ByLayer(weights, lambda name: weights[name].detach().abs() * norms[name])

    def by_row(self, scores: Mapping[str, Tensor], sparsity: float) -> Mapping[str, Tensor]:
        """Scores for all weights of a layer: 0 for those that every row loses, then one of each row, then the rest."""
        return ByLayer(scores, lambda name: _by_row(scores[name], sparsity))


def _by_row(score: Tensor, sparsity: float) -> Tensor:
    import torch

    rows, lost = score.flatten(1), int(score[0].numel() * sparsity)
    order = rows.argsort(dim=1, stable=True)
    last, chosen = order[:, lost : lost + 1], torch.full_like(rows, 3 + float(rows.max()))
    chosen.scatter_(1, last, 1 + rows.gather(1, last)).scatter_(1, order[:, :lost], 0.0)
    return chosen.view_as(score)


@hookimpl
def register_pruners(register):
    register("wanda", Wanda)
