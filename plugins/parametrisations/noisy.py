"""Weights with Gaussian noise whose variance is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lth_bench_plugins.parametrisations.selection import Selection

SMALL = 1e-8  # added to squares of weights before the logarithm
LIMIT = 8.0  # of |log α| in training


class Noisy(nn.Module):
    """Adds noise of variance σ² = α · weight²; in evaluation mode, keeps the weights that `selection` keeps."""

    def __init__(self, layer: str, weight: Tensor, selection: Selection, start: float) -> None:
        super().__init__()
        self.layer, self.selection = layer, selection
        self.log_variance = nn.Parameter(torch.full_like(weight, start))

    def log_alpha(self, weight: Tensor) -> Tensor:
        """The logarithm of the noise's variance divided by the weight's square."""
        return self.log_variance - (weight.square() + SMALL).log()

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight * self.selection.mask(self.layer)
        self.selection.forget()
        variance = self.log_alpha(weight).clamp(-LIMIT, LIMIT).exp() * (weight.square() + SMALL)
        return weight + variance.sqrt() * torch.randn_like(weight)


def divergence(log_alpha: Tensor) -> Tensor:
    """The approximate KL divergence from the log-uniform prior, summed over the weights.

    Molchanov et al. 2017, arXiv:1701.05369, equation 14, with the constant that makes it vanish for large α.
    """
    log_alpha = log_alpha.clamp(-LIMIT, LIMIT)
    kept = 0.63576 * torch.sigmoid(1.87320 + 1.48695 * log_alpha) - 0.5 * nn.functional.softplus(-log_alpha)
    return (0.63576 - kept).sum()
