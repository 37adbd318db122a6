"""Fixed weights under masks that are drawn anew at every step."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lth_bench_plugins.parametrisations.selection import Selection, straight_through

Rescaling = Literal["none", "kept_share", "root_of_kept_share"]
POWERS: dict[Rescaling, float] = {"none": 0.0, "kept_share": -1.0, "root_of_kept_share": -0.5}


class Coins(nn.Module):
    """Keeps each weight with probability sigmoid(score); in evaluation mode, the weights that `selection` keeps.

    The gradient passes straight through to the probabilities. `rescaling` divides the kept weights by their share of
    the layer, or by its root.
    """

    def __init__(self, layer: str, scores: Tensor, selection: Selection, rescaling: Rescaling) -> None:
        super().__init__()
        self.layer, self.scores = layer, nn.Parameter(scores)
        self.selection, self.power = selection, POWERS[rescaling]

    def forward(self, weight: Tensor) -> Tensor:
        mask = self.tossed() if self.training else self.selection.mask(self.layer)
        share = mask.sum().clamp(min=1) / mask.numel()
        return weight * mask * share**self.power

    def tossed(self) -> Tensor:
        self.selection.forget()
        probability = self.scores.sigmoid()
        return straight_through(torch.rand_like(probability) < probability, probability)
