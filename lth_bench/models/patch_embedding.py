"""Networks that cut images into patches, fitted to smaller patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.models.feature_map import stems


def small_patches(make: Callable[[int], nn.Module], shape: tuple[int, int, int], patch: int) -> nn.Module:
    """A network with patches of `patch` pixels a side, where timm's model function fixes a multiple of that.

    The network is made for images that are larger by the same factor, and gets a new first convolution, drawn as torch
    draws it. `make` is that of `cifar_stem`. Raises ModelError.
    """
    state = torch.get_rng_state()
    embedding = _patch_embedding(make(1))
    old = embedding.patch_size[0] if embedding is not None else 0
    if not old or old % patch:
        raise ModelError(f"patches of {patch} pixels do not divide the network's patches of {old} pixels")
    torch.set_rng_state(state)
    model = make(old // patch)
    embedding = _patch_embedding(model)
    layer = embedding.proj
    embedding.proj = nn.Conv2d(layer.in_channels, layer.out_channels, patch, patch, bias=layer.bias is not None)
    resize_embedding(embedding, old // patch, shape)
    return model


def resize_embedding(embedding: Any, factor: int, shape: tuple[int, int, int]) -> None:
    """Sets the sizes of patches and images that a patch embedding remembers, if it does."""
    if hasattr(embedding, "patch_size"):
        old = embedding.patch_size
        embedding.patch_size = old // factor if isinstance(old, int) else tuple(side // factor for side in old)
    if getattr(embedding, "img_size", None) is not None:
        embedding.img_size = shape[1:]


def _patch_embedding(model: nn.Module) -> Any:
    """The module that cuts images into patches; None without one."""
    return next((stem for stem in stems(model) if hasattr(stem, "patch_size") and hasattr(stem, "proj")), None)
