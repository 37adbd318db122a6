"""Weights under trainable thresholds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lth_bench_plugins.parametrisations.selection import Selection

FEW = 0.01  # the share of weights above thresholds at which a layer's thresholds start again, as in the authors' code


class LongTailedStep(torch.autograd.Function):
    """The unit step, with the derivative 2 - 4|x| up to |x| = 0.4, 0.4 from there to 1, and zero beyond."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        size = x.abs()
        tail = torch.where(size <= 1, 0.4, 0.0)
        return gradients[0] * torch.where(size <= 0.4, 2 - 4 * size, tail)


class Thresholded(nn.Module):
    """Keeps the weights above the threshold of their output; in evaluation mode, those that `selection` keeps."""

    def __init__(self, layer: str, weight: Tensor, selection: Selection) -> None:
        super().__init__()
        self.layer, self.selection = layer, selection
        self.thresholds = nn.Parameter(weight.new_zeros(len(weight)))

    def excess(self, weight: Tensor) -> Tensor:
        """The magnitude of each weight minus its threshold."""
        return weight.abs() - self.thresholds.view(-1, *(1 for _ in weight.shape[1:]))

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight * self.selection.mask(self.layer)
        self.selection.forget()
        self.thresholds.data.mul_((self.excess(weight) > 0).sum() > FEW * weight.numel())
        return weight * LongTailedStep.apply(self.excess(weight))
