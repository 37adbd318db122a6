"""Weights shrunk by the trained threshold of their layer."""

from __future__ import annotations

from torch import Tensor, nn

from lth_bench_plugins.parametrisations.selection import Selection

LEAST = 1e-6  # the magnitude of a weight that is kept though it lies below the threshold


class SoftThresholded(nn.Module):
    """Moves weights towards zero by sigmoid(s); in evaluation mode, keeps those that `selection` keeps."""

    def __init__(self, layer: str, weight: Tensor, selection: Selection, start: float) -> None:
        super().__init__()
        self.layer, self.selection = layer, selection
        self.s = nn.Parameter(weight.new_full((), start))

    def excess(self, weight: Tensor) -> Tensor:
        """The magnitude of each weight minus the threshold."""
        return weight.abs() - self.s.sigmoid()

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight.sign() * self.excess(weight).clamp(min=LEAST) * self.selection.mask(self.layer)
        self.selection.forget()
        return weight.sign() * self.excess(weight).relu()
