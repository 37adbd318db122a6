"""The smaller network of a ticket of channels."""

from __future__ import annotations

from torch import nn

from lth_bench.pruning.masks import Masks


def thin(network: nn.Module, masks: Masks, channels: Masks) -> nn.Module:
    """A network without the channels that can only be zero: on every image it computes what `network` computes.

    `network` has the weights of the ticket, zero outside `masks`; it is left as it is. Raises ModelError.
    """
    raise NotImplementedError
