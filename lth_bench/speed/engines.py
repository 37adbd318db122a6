"""Engines: ways to compute a ticket's network that may profit from what was pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lth_bench.pruning.masks import Masks
from lth_bench.speed.feature_major import with_csr
from lth_bench.speed.onnx_runtime import session
from lth_bench.speed.two_four import with_two_four

Compute = Callable[[Tensor], Tensor]
"""Logits from images, N×C×H×W."""


@dataclass(frozen=True)
class Subject:
    """The network of a ticket, dense tensors with zeros outside its masks, in evaluation mode on its device.

    `channels` has a mask of the channels that a structured method kept, by layer; `shape` is C×H×W.
    """

    network: nn.Module
    masks: Masks
    channels: Masks
    shape: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device


@dataclass(frozen=True)
class Engine:
    """A way to compute a network, and the precision in which it and the dense network beside it compute.

    `prepare` raises NotApplicable.
    """

    prepare: Callable[[Subject, int], Compute]
    precision: torch.dtype = torch.float32


def dense(subject: Subject, precision: torch.dtype = torch.float32) -> Compute:
    """The network as it is, zeros and all, by torch's dense kernels."""
    network = subject.network if precision is torch.float32 else deepcopy(subject.network).to(precision)
    return lambda images: network(images.to(precision)).float()


def _thin(subject: Subject, threads: int) -> Compute:
    return _smaller(subject)


def _smaller(subject: Subject) -> nn.Module:
    from lth_bench.export.thin import thin
    from lth_bench.speed.applicable import NotApplicable

    if all(bool(kept.all()) for kept in subject.channels.values()):
        raise NotApplicable("its method removes no channels")
    return thin(subject.network, subject.masks, subject.channels)


ENGINES: Mapping[str, Engine] = {
    "dense": Engine(lambda subject, _: dense(subject)),
    "thin": Engine(_thin),
    "onnxruntime": Engine(
        lambda subject, threads: session(subject.network, subject.shape, threads),
    ),
    "onnxruntime-thin": Engine(
        lambda subject, threads: session(_smaller(subject), subject.shape, threads),
    ),
    "csr": Engine(
        lambda subject, _: with_csr(subject.network, subject.masks),
    ),
    "2:4": Engine(
        lambda subject, _: with_two_four(subject.network, subject.masks),
        torch.float16,
    ),
}
USUAL = tuple(name for name in ENGINES if name != "dense")
