"""Weights under gates of the hard concrete distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lth_bench_plugins.parametrisations.selection import Selection

TEMPERATURE = 2 / 3
LOW, HIGH = -0.1, 1.1  # the range that the concrete distribution is stretched to
CLOSED = math.log(-LOW / HIGH)  # log α up to which an expected gate is zero
LEAST = 1e-6  # the smallest gate in evaluation, so that no kept weight is zero


class HardConcrete(nn.Module):
    """Multiplies weights by gates drawn anew at every step; in evaluation mode, by expected gates and a mask.

    `selection` gives the mask. Louizos et al. 2018, arXiv:1712.01312, equations 10 to 13.
    """

    def __init__(self, layer: str, log_alpha: Tensor, selection: Selection) -> None:
        super().__init__()
        self.layer, self.selection = layer, selection
        self.log_alpha = nn.Parameter(log_alpha)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight * self.expected() * self.selection.mask(self.layer)
        self.selection.forget()
        draws = torch.rand_like(weight).clamp(1e-8, 1 - 1e-7).logit()
        concrete = ((draws + self.log_alpha) / TEMPERATURE).sigmoid()
        return weight * stretched(concrete).clamp(0, 1)

    def expected(self) -> Tensor:
        """The gates in evaluation mode."""
        return stretched(self.log_alpha.sigmoid()).clamp(LEAST, 1)

    def open(self) -> Tensor:
        """The expected number of gates that are not zero."""
        return (self.log_alpha - TEMPERATURE * CLOSED).sigmoid().sum()


def stretched(concrete: Tensor) -> Tensor:
    return concrete * (HIGH - LOW) + LOW
