"""The curvature of the loss around a network, along the weights that its masks keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from lth_bench.models.modes import mode
from lth_bench.models.predictions import nothing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lth_bench.data.examples import Batch

TRIES = 100
PRECISION = 1e-3


@dataclass(frozen=True)
class Surface:
    """The mean cross-entropy of a network on fixed examples as a function of its kept weights, which are one vector.

    The network is in evaluation mode; weights without a mask, biases and norm layers stay as they are. `progress` is
    called at every pass.
    """

    network: nn.Module
    masks: dict[str, Tensor]
    batches: Sequence[Batch]
    progress: Callable[[], None] = nothing

    @property
    def point(self) -> Tensor:
        """The kept weights of the network."""
        weights = dict(self.network.named_parameters())
        return torch.cat([weights[name].detach()[mask] for name, mask in self.masks.items()])

    @property
    def filter_norms(self) -> Tensor:
        """For every kept weight the norm of its filter: of all kept weights that feed the same output."""
        weights, norms = dict(self.network.named_parameters()), []
        for name, mask in self.masks.items():
            weight = weights[name].detach() * mask
            lengths = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.dim() - 1))
            norms.append(lengths.expand_as(mask)[mask])
        return torch.cat(norms)

    def loss(self, point: Tensor) -> Tensor:
        """The loss where the kept weights are those of `point` and the pruned ones zero."""
        return sum((self._share(point, batch) for batch in self.batches), point.new_zeros(()))

    def height(self, point: Tensor) -> float:
        with torch.no_grad():
            return float(self.loss(point))

    def gradient(self, point: Tensor) -> Tensor:
        place = point.detach().requires_grad_()
        return sum((torch.autograd.grad(self._share(place, batch), place)[0] for batch in self.batches), 0 * point)

    def product(self, vector: Tensor) -> Tensor:
        """The Hessian at the network's weights times a vector."""
        place, total = self.point.requires_grad_(), torch.zeros_like(vector)
        for batch in self.batches:
            (slope,) = torch.autograd.grad(self._share(place, batch), place, create_graph=True)
            total += torch.autograd.grad(slope, place, vector)[0]
        return total

    def _share(self, point: Tensor, batch: Batch) -> Tensor:
        """What a batch adds to the mean over all examples."""
        self.progress()
        count = sum(len(other.labels) for other in self.batches)
        with ExitStack() as contexts:
            contexts.enter_context(mode(self.network, training=False))
            contexts.enter_context(sdpa_kernel(SDPBackend.MATH))  # the fused ones have no second derivative
            outputs = functional_call(self.network, self._weights(point), (batch.inputs,))
        return cross_entropy(outputs, batch.labels, reduction="sum") / count

    def _weights(self, point: Tensor) -> dict[str, Tensor]:
        parts = point.split([int(mask.sum()) for mask in self.masks.values()])
        return {
            name: point.new_zeros(mask.shape).masked_scatter(mask, part)
            for (name, mask), part in zip(self.masks.items(), parts, strict=True)
        }


def trace(surface: Surface, draws: torch.Generator) -> tuple[float, float]:
    """The trace of the Hessian and its standard error, by Hutchinson's estimate with Rademacher vectors.

    It ends with the vector that changes the mean by less than a thousandth, at the latest with the hundredth
    (PyHessian: Yao et al. 2020, arXiv:1912.07145).
    """
    values, means = torch.empty(0), list[float]()
    for _ in range(TRIES):
        vector = torch.randint(2, surface.point.shape, generator=draws).to(surface.point) * 2 - 1
        values = torch.cat([values, (vector @ surface.product(vector)).cpu().view(1)])
        means.append(float(values.mean()))
        if len(means) > 1 and _is_settled(*means[-2:]):
            break
    return means[-1], float(values.std() / len(values) ** 0.5)


def largest_eigenvalue(surface: Surface, draws: torch.Generator) -> float:
    """The largest eigenvalue of the Hessian, by power iteration of at most 100 steps.

    Where the eigenvalue of the largest size is negative, a second iteration finds the largest one above it.
    """
    start = torch.randn(surface.point.shape, generator=draws).to(surface.point)
    value = _dominant(surface.product, start)
    if value >= 0:
        return value
    return value + _dominant(lambda vector: surface.product(vector) - value * vector, start)


def _dominant(product: Callable[[Tensor], Tensor], vector: Tensor) -> float:
    values: list[float] = []
    for _ in range(TRIES):
        vector = vector / vector.norm()
        following = product(vector)
        values.append(float(vector @ following))
        if not following.any() or (len(values) > 1 and _is_settled(*values[-2:])):
            break
        vector = following
    return values[-1]


def _is_settled(before: float, now: float) -> bool:
    return abs(now - before) <= PRECISION * abs(now)


def sharpness(surface: Surface, radius: float, steps: int = 1, scales: Tensor | None = None) -> float:
    """How much the loss rises within a ball around the network: the highest of `steps` steps of ascent, less the start.

    One step is that of SAM (Foret et al. 2021, arXiv:2010.01412); several are 2 / steps of it each, kept in the ball.
    With `scales` the ball is an ellipsoid whose axes are those times the radius; with norms of filters, that of ASAM
    (Kwon et al. 2021, arXiv:2102.11600).
    """
    scales = torch.ones_like(surface.point) if scales is None else scales
    offset, heights = torch.zeros_like(scales), [surface.height(surface.point)]
    for _ in range(steps):
        slope = scales * surface.gradient(surface.point + scales * offset)
        offset = _within(offset + 2 * radius / steps * _unit(slope), radius)
        heights.append(surface.height(surface.point + scales * offset))
    return max(heights[1:]) - heights[0]


def _unit(vector: Tensor) -> Tensor:
    length = vector.norm()
    return vector / length if length else vector


def _within(vector: Tensor, radius: float) -> Tensor:
    return vector * min(1.0, radius / max(float(vector.norm()), radius))
