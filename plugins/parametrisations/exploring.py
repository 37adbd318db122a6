"""Weights of which passes read the largest, while the next largest are trained too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lth_bench.pruning.masks import top


class Explored(torch.autograd.Function):
    """The active weights; all trained ones get their gradient, and a penalty's, `1 / density` times that if inactive.

    Jayakumar et al. 2020, arXiv:2106.03517, sections 2.2 and 2.3.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, active: Tensor, trained: Tensor, penalty: float, density: float) -> Tensor:
        ctx.save_for_backward(weight, active, trained)
        ctx.penalty, ctx.density = penalty, density
        return weight * active

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, active, trained = ctx.saved_tensors
        pull = ctx.penalty * weight * torch.where(active, 1.0, 1 / ctx.density)
        return (gradients[0] + pull) * trained, None, None, None, None


class Exploring(nn.Module):
    """Keeps the `kept` largest weights as they were chosen last, and trains so many of the largest, `kept` or more."""

    def __init__(self, weight: Tensor, kept: int, trained: int, penalty: float) -> None:
        super().__init__()
        self.kept, self.count, self.penalty = kept, trained, penalty
        self.forward_density, self.backward_density = kept / weight.numel(), trained / weight.numel()
        for name in ("active", "trained"):
            self.register_buffer(name, torch.ones_like(weight, dtype=torch.bool), persistent=False)
        self.choose(weight)

    @torch.no_grad()
    def choose(self, weight: Tensor) -> None:
        """Chooses the largest weights anew. Those that are not finite have no order; the end of training tells."""
        size = weight.abs().nan_to_num(nan=torch.inf)
        self.active.copy_(top(size, self.kept))
        self.trained.copy_(top(size, self.count))

    def forward(self, weight: Tensor) -> Tensor:
        made: Tensor = Explored.apply(weight, self.active, self.trained, self.penalty, self.forward_density)
        return made
