"""Weights in a pattern such as 2:4 whose pruned ones train on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lth_bench.experiments.patterns import Pattern
from lth_bench.pruning.patterns import best_of_groups


class SparseRefined(torch.autograd.Function):
    """A masked weight; the gradient passes straight through, with `decay` times the weight where it is pruned.

    Zhou et al. 2021, arXiv:2102.04010.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, decay: float) -> Tensor:
        ctx.save_for_backward(weight, mask)
        ctx.decay = decay
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, mask = ctx.saved_tensors
        return gradients[0] + ctx.decay * weight.masked_fill(mask, 0.0), None, None


class Patterned(nn.Module):
    """Keeps the largest weights of each group of a pattern, in training as in evaluation mode; all have gradients."""

    def __init__(self, pattern: Pattern, decay: float) -> None:
        super().__init__()
        self.pattern, self.decay = pattern, decay
        self.forward_density = pattern.kept / pattern.of

    def forward(self, weight: Tensor) -> Tensor:
        unpruned = torch.ones_like(weight, dtype=torch.bool)
        mask = best_of_groups(weight.detach().abs(), unpruned, self.pattern)
        made: Tensor = SparseRefined.apply(weight, mask, self.decay)
        return made
