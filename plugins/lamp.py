"""LAMP: iterative pruning by magnitudes that are made comparable across layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Duration, Paper, Rate, Retraining, global_rounds, hookimpl, retrain
from lth_bench.methods.retraining import require_learning_rate

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class LAMP:
    """Train, prune the weights of least layer-adaptive magnitude, retrain, and repeat up to the target sparsity.

    Lee et al. 2021, arXiv:2010.07611: the score of a weight is its square divided by the sum of those squares of its
    layer that are not smaller. All layers are ranked together; within a layer the order is that of magnitudes. The
    largest weight of a layer scores 1, so no layer is emptied while there are as many weights to keep as layers.

    The rounds are those of the authors' code: each prunes the share `rate` of what is left, and trains on without going
    back to earlier weights, for four fifths of the steps of the first training (their VGG-16 and ResNet-18), at the
    same constant learning rate; another schedule is repeated from `rewind_to` on. The paper's experiments with rewound
    weights have `retraining` "weight_rewinding". A `rate` not below the target sparsity prunes once.

    Deviations:
    - A round keeps its share of all weights to one weight, and the last is trimmed to the target (the authors' code
      rounds a share of what the round before kept, which may be 0.5 / rate weights away).
    - Scores are computed in float64, by sums that start at the largest weight (in the authors' code in float32, as
      differences from the sum of all, which cancel); of equal weights in a layer, the earlier has the higher score.
    - The optimiser's state is kept between rounds (the authors' code makes a new optimiser for each).
    """

    title = "LAMP"
    family = "after training"
    paper = Paper(
        "lee2021layer",
        "Layer-adaptive Sparsity for the Magnitude-based Pruning",
        "Jaeho Lee and Sejun Park and Sangwoo Mo and Sungsoo Ahn and Jinwoo Shin",
        "ICLR",
        2021,
        arxiv="2010.07611",
        code="https://github.com/jaeho-lee/layer-adaptive-sparsity",
    )

    rate: Rate = 0.2
    rewind_to: Duration = Duration("20%")
    retraining: Retraining = "learning_rate_rewinding"

    def __call__(self, session: Session) -> None:
        require_learning_rate(session, self.retraining)
        session.train(until=self.rewind_to)
        start = session.snapshot()
        session.train()
        for target in global_rounds(session.sparsity, self.rate):
            session.prune(self.scores(session), target)
            retrain(session, start, self.retraining)

    def scores(self, session: Session) -> dict[str, Tensor]:
        return {name: layer_adaptive(weight.detach()) for name, weight in session.weights.items()}


def layer_adaptive(weight: Tensor) -> Tensor:
    """The squares of a layer, each divided by the sum of those not smaller, in float64; zero where the weight is."""
    import torch

    squares, order = weight.double().square().flatten().sort(descending=True, stable=True)
    sums = squares.cumsum(0).clamp_min(torch.finfo(squares.dtype).tiny)  # a layer of zeros has no sum to divide by
    return torch.empty_like(squares).scatter_(0, order, squares / sums).view_as(weight)


@hookimpl
def register_pruners(register):
    register("lamp", LAMP)
