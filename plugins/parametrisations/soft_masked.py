"""Weights times a mask that hardens while it is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lth_bench_plugins.parametrisations.selection import Selection

LEAST = 1e-6  # what a closed gate lets through if it is kept


class SoftMasked(nn.Module):
    """Multiplies weights by sigmoid(β · s) / sigmoid(start), where s starts at `start` and β is the temperature.

    In evaluation mode, keeps the weights that `selection` keeps.
    """

    def __init__(
        self, layer: str, weight: Tensor, selection: Selection, start: float, temperature: Callable[[], float]
    ) -> None:
        super().__init__()
        self.layer, self.selection = layer, selection
        self.start, self.temperature = start, temperature
        self.s = nn.Parameter(torch.full_like(weight, start))

    def soft_mask(self) -> Tensor:
        """1 at the start; in the end, 0 or 1 / sigmoid(start)."""
        hardened = (self.temperature() * self.s).sigmoid()
        return hardened / self.s.new_tensor(self.start).sigmoid()

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight * self.soft_mask().clamp(min=LEAST) * self.selection.mask(self.layer)
        self.selection.forget()
        return weight * self.soft_mask()

    @torch.no_grad()
    def restart(self) -> None:
        """Takes s, at the last temperature, to the next round: what is open starts again, what is closed stays so."""
        self.s.copy_((self.temperature() * self.s).clamp(max=self.start))
