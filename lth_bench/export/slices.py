"""Layers and norms without some of their channels, and the module that puts channels in another order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


class Rearranged(nn.Module):
    """Selects channels along an axis; an index past the last channel selects zeros."""

    index: Tensor

    def __init__(self, have: Tensor, want: Tensor, axis: int) -> None:
        """The channels of `have` become those of `want`; both are masks over all channels."""
        super().__init__()
        places = have.cumsum(0).sub(1).masked_fill(~have, int(have.count_nonzero()))
        self.register_buffer("index", places[want])
        self.axis, self.padded = axis, bool((want & ~have).any())

    def forward(self, x: Tensor) -> Tensor:
        if self.padded:
            x = torch.cat([x, torch.zeros_like(x.narrow(self.axis, 0, 1))], self.axis)
        return x.index_select(self.axis, self.index)


def some(channels: Tensor) -> Tensor:
    """These channels, or the first if there is none: torch's layers need one."""
    return channels if bool(channels.any()) else torch.arange(len(channels), device=channels.device) == 0


def written(layer: Any, read: Tensor) -> Tensor:
    """The channels of a layer that can be other than zero when it reads only these."""
    rows = layer.weight.detach()[:, read].flatten(1).count_nonzero(1) > 0
    return some(rows if layer.bias is None else rows | (layer.bias.detach() != 0))


def shrink_layer(layer: Any, rows: Tensor, columns: Tensor) -> None:
    """Keeps only these output and input channels of a convolution of one group, or of a linear layer."""
    keep(layer, "weight", rows, columns)
    if layer.bias is not None:
        keep(layer, "bias", rows)
    counts = "features" if isinstance(layer, nn.Linear) else "channels"
    setattr(layer, f"in_{counts}", int(columns.count_nonzero()))
    setattr(layer, f"out_{counts}", int(rows.count_nonzero()))


def shrink_depthwise(layer: Any, channels: Tensor) -> None:
    """Keeps only these channels of a depthwise convolution."""
    shrink_layer(layer, channels, torch.ones(1, dtype=torch.bool, device=channels.device))
    layer.in_channels = layer.groups = layer.out_channels


def shrink_norm(norm: Any, channels: Tensor) -> None:
    """Keeps only these channels of a batch norm."""
    for name in NORM_TENSORS:
        if getattr(norm, name, None) is not None:
            keep(norm, name, channels)
    norm.num_features = int(channels.count_nonzero())


@torch.no_grad()
def shift_of_zeros(norm: Any) -> Tensor:
    """The channels of a batch norm in which zeros become another value."""
    zeros = torch.zeros(1, norm.num_features, *(1 for _ in range(spatial(norm)))).to(norm.weight)
    return norm(zeros).flatten() != 0  # type: ignore[no-any-return]


def spatial(norm: nn.Module) -> int:
    """The number of axes behind that of the channels, for a batch norm of images."""
    return 3 if isinstance(norm, nn.BatchNorm3d) else 2 if isinstance(norm, nn.BatchNorm2d) else 0


def keep(module: nn.Module, name: str, rows: Tensor, columns: Tensor | None = None) -> None:
    """Keeps only these rows, and columns, of a parameter or buffer."""
    value = getattr(module, name)
    kept = value.detach()[rows] if columns is None else value.detach()[rows][:, columns]
    kept = kept.clone(memory_format=torch.contiguous_format)
    if isinstance(value, nn.Parameter):
        setattr(module, name, nn.Parameter(kept, value.requires_grad))
    else:
        setattr(module, name, kept)
