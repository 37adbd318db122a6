"""Training and evaluation mode of a network, and how its attention is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """A context that puts every module into one mode and restores the mode of each when it ends."""
    flags = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        model.train()  # drops what some attention layers cache in evaluation mode
        for module, flag in flags:
            module.training = flag


@contextmanager
def products_of_attention() -> Iterator[None]:
    """Inside, `nn.MultiheadAttention` computes in evaluation mode too product by product."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
