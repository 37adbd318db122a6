"""Where an engine has nothing to gain, or cannot run."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from lth_bench.pruning.masks import Masks


class NotApplicable(Exception):
    """An engine that a network, a device or an installation has no use for; the sentence says why."""


def pruned_linear(network: nn.Module, masks: Masks) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of which weights were pruned, by their paths; not those whose weights others compute with."""
    for path, layer in network.named_modules():
        mask = masks.get(f"{path}.weight")
        if type(layer) is nn.Linear and mask is not None and not bool(mask.all()):
            yield path, layer
