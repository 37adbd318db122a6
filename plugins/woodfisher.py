"""WoodFisher: optimal brain surgery with the empirical Fisher matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from lth_bench import Count, Duration, Paper, Rate, hookimpl
from lth_bench.methods.retraining import RetrainingOrNone, prune_trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session

TRIES = 6  # times that a damping which does not suffice is made ten times as large


@dataclass(frozen=True)
class WoodFisher:
    """Train, then remove what costs the least loss by a quadratic model, and let the other weights make up for it.

    Singh & Alistarh 2020, arXiv:2004.14340, section 4. The curvature F is the mean of gg' over the `gradients` of as
    many examples of the training split, each of `examples` images, plus `damping` on its diagonal, in `blocks`: those
    of layers, of so many consecutive weights of a layer, or the whole network. A weight w costs w² / 2[F⁻¹]; the
    others change by the sum over removed weights of -w [F⁻¹]_column / [F⁻¹]. In `rounds`, sparsity grows linearly and F
    is computed again. Without `update`, weights stay as they are. `retraining` may follow, as that of one-shot
    magnitude pruning. Gradients are of the recipe's loss, in evaluation mode, and held in memory: 8 bytes for each
    weight and gradient.

    Deviations:
    - The defaults are those of the authors' one-shot experiments, but fewer gradients (there 1,000 for CIFAR-10).
    - A damping that does not suffice in float64 is made larger, and noted.
    """

    title = "WoodFisher"
    family = "after training"
    paper = Paper(
        "singh2020woodfisher",
        "WoodFisher: Efficient Second-Order Approximation for Neural Network Compression",
        "Sidak Pal Singh and Dan Alistarh",
        "NeurIPS",
        2020,
        arxiv="2004.14340",
        code="https://github.com/IST-DASLab/WoodFisher",
    )

    gradients: Count = 128
    examples: Count = 1
    damping: Rate = 1e-5
    blocks: Literal["layer", "network"] | Count = "layer"
    rounds: Count = 1
    update: bool = True
    retraining: RetrainingOrNone = "none"
    rewind_to: Duration = Duration("0it")

    def __call__(self, session: Session) -> None:
        prune_trained(session, lambda: self.prune_in_rounds(session), self.retraining, self.rewind_to)

    def prune_in_rounds(self, session: Session) -> None:
        for round in range(1, self.rounds + 1):
            batch = session.sample(self.gradients * self.examples, round)
            self.prune(session, self.curvature(session, batch), session.sparsity * round / self.rounds)

    def prune(self, session: Session, curvature: InverseFisher, sparsity: float | dict[str, float]) -> None:
        """Removes the weights of least cost, and gives the others new values."""
        before, weights = session.masks, _flat(session.weights)
        session.prune(self.scores(session, curvature), sparsity)
        if self.update:
            removed = _flat({name: before[name] & ~mask for name, mask in session.masks.items()})
            change = curvature.times(removed * weights / curvature.diagonal)
            session.adopt(session.masks, weights=_by_layer(weights - change, session.weights))

    def scores(self, session: Session, curvature: InverseFisher) -> dict[str, Tensor]:
        """The loss that removing a weight costs."""
        return _by_layer(_flat(session.weights) ** 2 / (2 * curvature.diagonal), session.weights)

    def curvature(self, session: Session, batch: Batch) -> InverseFisher:
        import torch

        from lth_bench import Batch

        weights, rows = list(session.weights.values()), []
        with session.scoring():
            for start in range(0, len(batch.inputs), self.examples):
                part = slice(start, start + self.examples)
                loss = session.loss(Batch(batch.inputs[part], batch.labels[part]))
                found = torch.autograd.grad(loss, weights, materialize_grads=True)
                kept = zip(found, session.masks.values(), strict=True)
                rows.append(torch.cat([(gradient * mask).flatten() for gradient, mask in kept]).double())
        inverse = InverseFisher(torch.stack(rows), self.sizes(session), self.damping)
        if inverse.damping > self.damping:
            session.note("damping", inverse.damping)
        return inverse

    def sizes(self, session: Session) -> list[int]:
        """The numbers of consecutive weights in each block."""
        layers = [weight.numel() for weight in session.weights.values()]
        if self.blocks == "network":
            return [sum(layers)]
        if self.blocks == "layer":
            return layers
        return [min(self.blocks, size - start) for size in layers for start in range(0, size, self.blocks)]


class InverseFisher:
    """The inverse of a damped empirical Fisher matrix in blocks, from gradients of shape (gradients, weights).

    By Woodbury's identity it takes the Cholesky factor of a matrix of gradients by gradients for each block.
    """

    def __init__(self, gradients: Tensor, sizes: Sequence[int], damping: float) -> None:
        import torch

        self._blocks, self._sizes, self.damping = gradients.split(list(sizes), dim=1), list(sizes), damping
        grams, eye = [block @ block.T for block in self._blocks], torch.eye(len(gradients)).to(gradients)
        for _ in range(TRIES):
            tried = [torch.linalg.cholesky_ex(gram + len(gradients) * self.damping * eye) for gram in grams]
            if not any(bool(info) for _, info in tried):
                break
            self.damping *= 10
        self._factors = [factor for factor, _ in tried]

    @cached_property
    def diagonal(self) -> Tensor:
        import torch

        pairs = zip(self._blocks, self._factors, strict=True)
        solved = [torch.linalg.solve_triangular(factor, block, upper=False) for block, factor in pairs]
        return torch.cat([1 - part.square().sum(0) for part in solved]) / self.damping

    def times(self, vector: Tensor) -> Tensor:
        """The product with a vector of all weights."""
        import torch

        products = []
        for part, block, factor in zip(vector.split(self._sizes), self._blocks, self._factors, strict=True):
            solved = torch.cholesky_solve((block @ part)[:, None], factor)[:, 0]
            products.append(part - block.T @ solved)
        return torch.cat(products) / self.damping


def _flat(layers: dict[str, Tensor]) -> Tensor:
    import torch

    return torch.cat([layer.detach().flatten() for layer in layers.values()]).double()


def _by_layer(vector: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = vector.split([layer.numel() for layer in like.values()])
    return {name: part.view_as(layer).to(layer.dtype) for part, (name, layer) in zip(parts, like.items(), strict=True)}


@hookimpl
def register_pruners(register):
    register("woodfisher", WoodFisher)
