"""Training and evaluation mode of a network, statistics of its batch norms, and how its attention is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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


def tracking_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep running statistics."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]


@contextmanager
def fresh_statistics(model: nn.Module) -> Iterator[list[_BatchNorm]]:
    """Inside, batch norms estimate their running statistics anew, of all batches; all else computes as in evaluation.

    Gives these batch norms, possibly none.
    """
    norms = tracking_norms(model)
    with ExitStack() as stack:
        stack.enter_context(mode(model, training=False))
        for norm in norms:
            stack.callback(setattr, norm, "momentum", norm.momentum)
            norm.reset_running_stats()
            norm.momentum = None  # of all batches, each counts the same
            norm.train()
        yield norms


@contextmanager
def products_of_attention() -> Iterator[None]:
    """Inside, `nn.MultiheadAttention` computes in evaluation mode too product by product."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
