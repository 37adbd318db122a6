"""Weights of which only some are trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PartlyFrozen(nn.Module):
    """Weights as they are trained where a mask keeps them, and given values elsewhere."""

    def __init__(self, mask: Tensor, elsewhere: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("elsewhere", elsewhere, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return torch.where(self.mask, weight, self.elsewhere)
