"""Weights of which a part is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PartlyFrozen(nn.Module):
    """Trained weights where a mask keeps them, and fixed values elsewhere."""

    def __init__(self, mask: Tensor, elsewhere: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("elsewhere", elsewhere, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return torch.where(self.mask, weight, self.elsewhere)
