"""Networks that cut images into patches, fitted to smaller patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.models.feature_map import stems


def small_patches(make: Callable[[int], nn.Module], shape: tuple[int, int, int], patch: int) -> nn.Module:
    """A network of patches of so many pixels a side, where timm's model function fixes another size.

    It is the network for images as many times as large, with a new convolution, drawn as torch draws it, in front. For
    `make` see `cifar_stem`. Raises ModelError.
    """
    state = torch.get_rng_state()
    embedding = _patch_embedding(make(1))
    old = embedding.patch_size[0] if embedding is not None else 0
    if not old or old % patch:
        raise ModelError(f"patches of {patch} pixels do not divide those of {old} that it has")
    torch.set_rng_state(state)
    model = make(old // patch)
    embedding = _patch_embedding(model)
    layer = embedding.proj
    embedding.proj = nn.Conv2d(layer.in_channels, layer.out_channels, patch, patch, bias=layer.bias is not None)
    resize_embedding(embedding, old // patch, shape)
    return model


def resize_embedding(embedding: Any, factor: int, shape: tuple[int, int, int]) -> None:
    """Tells a patch embedding that remembers sizes the new ones."""
    if hasattr(embedding, "patch_size"):
        old = embedding.patch_size
        embedding.patch_size = old // factor if isinstance(old, int) else tuple(side // factor for side in old)
    if getattr(embedding, "img_size", None) is not None:
        embedding.img_size = shape[1:]


def _patch_embedding(model: nn.Module) -> Any:
    """The module that cuts images into patches; None if there is none."""
    return next((stem for stem in stems(model) if hasattr(stem, "patch_size") and hasattr(stem, "proj")), None)
