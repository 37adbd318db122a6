"""Fixed weights under the mask of their highest scores."""

from __future__ import annotations

from torch import Tensor, nn

from lth_bench.pruning.masks import top
from lth_bench_plugins.parametrisations.selection import straight_through


class Subnet(nn.Module):
    """Keeps the `kept` weights of the largest |score|; the gradient passes straight through to every |score|."""

    def __init__(self, scores: Tensor, kept: int) -> None:
        super().__init__()
        self.scores, self.kept = nn.Parameter(scores), kept
        self.forward_density = kept / scores.numel()

    def forward(self, weight: Tensor) -> Tensor:
        size = self.scores.abs()
        mask = top(size.detach(), self.kept)
        return weight * straight_through(mask, size)
