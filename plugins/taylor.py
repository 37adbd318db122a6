"""Pruning of channels by a first-order Taylor expansion of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Count, Duration, Paper, Share, hookimpl, retrain
from lth_bench.methods.retraining import RetrainingOrScratch, require_learning_rate
from lth_bench.methods.structured import Branches, Layers, filter_layers, filter_norms, require_reachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Taylor:
    """Train, remove in rounds the channels without which the loss would change least, to first order, train again.

    Molchanov et al. 2019, arXiv:1906.10771, section 3: the score of a channel is the square of the gradient × value of
    a gate of 1 behind the batch norm, or the layer where none follows, which is the square of the sum of gradient ×
    parameter over scale and shift, or filter and bias. With `criterion` "weights" it is the sum of the squares of
    gradient × weight over the filter. Squares are taken for each of the `batches` of `examples`, in the network as
    pruned so far, and averaged; `momentum` is the part of the round before in the scores. All layers are ranked
    together. The defaults of `criterion`, `batches`, `momentum` and `batch_statistics` are those of the authors'
    command for ResNet-50. `layers`, `branches`, `retraining` and `rewind_to` are those of `l1_filter`.

    Deviations:
    - Rounds follow each other without training, and fine-tuning comes after the last (the authors' code prunes after
      every 30 mini-batches of fine-tuning, by the gradients of these).
    - Each of the `rounds` removes the same share of weights (in the authors' code, the same number of channels, in 32
      rounds for ResNet-50), and the best channel of each layer is kept.
    - The default of `examples` is smaller than the authors' batches of 256.
    - The channels that are added to others are kept, or with `branches` "all" scored each by itself (in the authors'
      code all that are added share a gate).
    - The examples are not augmented; the recipe's label smoothing is part of the loss.
    """

    title = "Taylor"
    family = "structured"
    paper = Paper(
        "molchanov2019importance",
        "Importance Estimation for Neural Network Pruning",
        "Pavlo Molchanov and Arun Mallya and Stephen Tyree and Iuri Frosio and Jan Kautz",
        "CVPR",
        2019,
        arxiv="1906.10771",
        code="https://github.com/NVlabs/Taylor_pruning",
    )

    criterion: Literal["gate", "weights"] = "gate"
    rounds: Count = 10
    batches: Count = 30
    examples: Count = 128
    momentum: Share = 0.9
    batch_statistics: bool = True
    layers: Layers = "convolutions"
    branches: Branches = "inner"
    retraining: RetrainingOrScratch = "fine_tuning"
    rewind_to: Duration = Duration("75%")

    def __call__(self, session: Session) -> None:
        names = filter_layers(session, self.layers, self.branches)
        require_learning_rate(session, self.retraining)
        require_reachable(session, filter_norms(session, names))
        session.train(until=self.rewind_to)
        start = session.snapshot()
        session.train()
        scores: dict[str, Tensor] = {}
        for round in range(self.rounds):
            batches = [session.sample(self.examples, round * self.batches + number) for number in range(self.batches)]
            scores = self.mixed(scores, self.scores(session, names, batches))
            session.prune_channels(scores, session.sparsity * (round + 1) / self.rounds)
        retrain(session, start, self.retraining)

    def scores(self, session: Session, names: Sequence[str], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """By layer, the mean over the batches of the importance of each channel in one."""
        scores = {name: session.weights[name].new_zeros(len(session.weights[name])) for name in names}
        with session.scoring(training=self.batch_statistics):
            for batch in batches:
                session.model.zero_grad()
                session.loss(batch).backward()
                for name in names:
                    scores[name] += self.importance(session, name) / len(batches)
        return scores

    def importance(self, session: Session, name: str) -> Tensor:
        """The importance of each channel of a layer by the gradients there are now."""
        from lth_bench.pruning.channels import bias_of

        weight, norm = session.weights[name], session.norms.get(name)
        if self.criterion == "weights":
            return _products(weight).square().sum(1)
        gated = [norm.weight, norm.bias] if norm else [weight, bias_of(session.model, name)]
        return sum(_products(values).sum(1) for values in gated if values is not None).square()

    def mixed(self, before: dict[str, Tensor], scores: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores with a part of those of the round before, if there was one."""
        return {
            name: self.momentum * before[name] + (1 - self.momentum) * score if before else score
            for name, score in scores.items()
        }


def _products(values: Tensor) -> Tensor:
    """Gradient × value, a row for each channel."""
    return (values.grad * values).detach().reshape(len(values), -1)


@hookimpl
def register_pruners(register):
    register("taylor", Taylor)
