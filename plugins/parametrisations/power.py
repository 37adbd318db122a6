"""Weights as powers of what is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SignedPower(torch.autograd.Function):
    """θ · |θ|^(α - 1), with the derivative α · |θ|^(α - 1), also at zero."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, exponent: float) -> Tensor:
        ctx.save_for_backward(size := theta.abs() ** (exponent - 1))
        ctx.exponent = exponent
        return theta * size

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (size,) = ctx.saved_tensors
        return gradients[0] * ctx.exponent * size, None


class Power(nn.Module):
    """A weight as the signed power of the tensor that is trained, which starts such that the weight is its initial one.

    Schwarz et al. 2021, arXiv:2110.00296, section 2.
    """

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent

    def forward(self, theta: Tensor) -> Tensor:
        weight: Tensor = SignedPower.apply(theta, self.exponent)
        return weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.sign() * weight.abs() ** (1 / self.exponent)
