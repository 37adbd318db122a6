"""Sizes of a network's feature maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from timm.layers.blur_pool import BlurPool2d
from torch import Tensor, nn

from lth_bench.models.modes import mode
from lth_bench.randomness import kept_noise

POOLS = (nn.MaxPool2d, nn.AvgPool2d, BlurPool2d)
SPATIAL = (nn.Conv2d, *POOLS)


def last_feature_map(model: nn.Module, inputs: Tensor) -> tuple[int, int] | None:
    """Height and width of the last feature map before global pooling; None if there is none. No side effects.

    timm's `forward_features` returns it: a map or, from a transformer, the tokens of a grid. In a network without that
    method it is the output of the last convolution or pooling that is neither global nor in a squeeze-and-excite
    branch.
    """
    with observing(model, inputs.device):
        if not hasattr(model, "forward_features"):
            return _last_output(model, inputs)
        return _map_size(model, cast(Any, model).forward_features(inputs))


def patch_grids(model: nn.Module) -> list[tuple[int, int]]:
    """Height and width, in patches, of the grids that a network cuts images into; empty for most networks."""
    sizes = (getattr(stem, "grid_size", None) for stem in stems(model))
    return [cast(tuple[int, int], tuple(size)) for size in sizes if size is not None]


def stems(model: nn.Module) -> list[Any]:
    """The first modules of a timm network: its `patch_embed` and its `stem`, if it has them."""
    return [stem for name in ("patch_embed", "stem") if (stem := getattr(model, name, None)) is not None]


def _map_size(model: nn.Module, features: Any) -> tuple[int, int] | None:
    while isinstance(features, tuple | list):
        features = features[-1]
    if features.dim() == 4:
        channels = getattr(model, "num_features", None)
        last = channels == features.shape[-1] and channels != features.shape[1]
        return cast(tuple[int, int], tuple(features.shape[1:3] if last else features.shape[2:]))
    return _grid(model, features.shape[1] - _prefix(model)) if features.dim() == 3 else None


def _grid(model: nn.Module, tokens: int) -> tuple[int, int] | None:
    """The grid of a transformer's patches, else the square that its tokens fill, perhaps all but one of them."""
    if grids := [grid for grid in patch_grids(model) if math.prod(grid) == tokens]:
        return grids[0]
    sides = [math.isqrt(count) for count in (tokens, tokens - 1) if count > 0 and math.isqrt(count) ** 2 == count]
    return (sides[0], sides[0]) if sides else None


def _prefix(model: nn.Module) -> int:
    """The number of tokens that are not patches."""
    return cast(int, getattr(model, "num_prefix_tokens", int(getattr(model, "cls_token", None) is not None)))


def _last_output(model: nn.Module, inputs: Tensor) -> tuple[int, int] | None:
    sizes: list[tuple[int, int]] = []

    def note(layer: nn.Module, received: tuple[Tensor], output: Tensor) -> None:
        size = received[0].shape[-2:]
        pooled = isinstance(layer, nn.AvgPool2d) and output.shape[-2:] == (1, 1)
        if size != (1, 1) and not pooled:
            sizes.append((output.shape[-2], output.shape[-1]))

    handles = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, SPATIAL)]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return sizes[-1] if sizes else None


@contextmanager
def observing(model: nn.Module, device: torch.device) -> Iterator[None]:
    """A context for passes in evaluation mode that leave no trace: no gradients, noise or cached attention."""
    with torch.no_grad(), kept_noise(device), mode(model, training=False):
        try:
            yield
        finally:
            model.train()  # drops what some attention layers cache in evaluation mode
