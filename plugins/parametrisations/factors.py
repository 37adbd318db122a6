"""Weights as products of two factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


class Factors(nn.Module):
    """A weight as the product U·V of a rank; the factors start as equal halves of the initial weight's best fit."""

    def __init__(self, shape: Shape, rank: int) -> None:
        super().__init__()
        self.shape, self.rank = shape, rank

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return folded(left @ right, self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        left, values, right = torch.linalg.svd(unfolded(weight), full_matrices=False)
        root = values[: self.rank].sqrt()
        return left[:, : self.rank] * root, root[:, None] * right[: self.rank]


def unfolded(weight: Tensor) -> Tensor:
    """A weight as a matrix; of a 2D convolution, outputs × height rows and inputs × width columns."""
    if weight.dim() != 4:
        return weight.flatten(1)
    outputs, inputs, height, width = weight.shape
    return weight.permute(0, 2, 1, 3).reshape(outputs * height, inputs * width)


def folded(matrix: Tensor, shape: Shape) -> Tensor:
    """The weight of this shape whose `unfolded` matrix this is."""
    if len(shape) != 4:
        return matrix.view(shape)
    outputs, inputs, height, width = shape
    return matrix.view(outputs, height, inputs, width).permute(0, 2, 1, 3)


def squared_norm(left: Tensor, right: Tensor) -> Tensor:
    """The squared Frobenius norm of left · right."""
    return ((left.T @ left) * (right @ right.T)).sum()
