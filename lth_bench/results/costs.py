"""The costs of an experiment, computed from its record. FLOPs = 2 × MACs, of one image unless stated otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from lth_bench.results.excerpts import NOWHERE, Excerpt
from lth_bench.storage.work import Network, RecordedEvent

NUMBER = 4  # bytes of a weight, and of an index
PASSES = 3  # forward, and backward for inputs and for weights


@dataclass(frozen=True)
class Shapes:
    """The constants of a network's costs; lists follow the order of the prunable layers.

    `dense` are the FLOPs of a forward pass through the dense network, `each` those that every weight of a layer takes,
    `other_flops` and `other_parameters` what is not prunable. Bytes are of a form that holds no weight: with 4-byte
    numbers for all that is not prunable, and a bit for each weight or an index for each row, an output channel.
    `left_out` is the share of matrix weights that are not prunable.
    """

    names: list[str]
    each: list[float]
    dense: float
    other_flops: float
    other_parameters: int
    bytes_dense: int
    bytes_bitmap: int
    bytes_csr: int
    left_out: float

    def flops(self, kept: Iterable[int]) -> float:
        """FLOPs of a forward pass with so many weights left in each layer."""
        return float(sum(map(mul, kept, self.each))) + self.other_flops


class Costs(NamedTuple):
    """FLOPs, parameters and bytes of an experiment; NaN where unknown.

    `left_out` is the share of the network's matrix weights that no method prunes and no sparsity counts.
    """

    training_flops: float
    training_flops_dense: float
    inference_flops: float
    inference_share: float
    theoretical_speedup: float
    parameters: float
    bytes_dense: float
    bytes_bitmap: float
    bytes_csr: float
    left_out: float


def shapes(network: Network) -> Shapes:
    """The shapes of the network in a record."""
    tensors, flops = ([layer.shape for layer in network.layers], [float(layer.flops) for layer in network.layers])
    sizes = [math.prod(shape) for shape in tensors]
    other, others = float(network.other_flops), network.parameters - sum(sizes)
    rest = NUMBER * others
    return Shapes(
        names=[layer.name for layer in network.layers],
        each=[count / size for count, size in zip(flops, sizes, strict=True)],
        dense=sum(flops) + other,
        other_flops=other,
        other_parameters=others,
        bytes_dense=rest + NUMBER * sum(sizes),
        bytes_bitmap=rest + sum(-(-size // 8) for size in sizes),
        bytes_csr=rest + NUMBER * sum(shape[0] + 1 for shape in tensors),
        left_out=NOWHERE if network.left_out is UNSET else network.left_out / (network.left_out + sum(sizes)),
    )


def training(network: Shapes, events: Iterable[RecordedEvent]) -> tuple[float, float]:
    """FLOPs of training and search: of the kept weights alone, and of the same work with dense matrices.

    A pass forward and backward is three times the forward pass (Evci et al. 2020, arXiv:1911.11134, appendix H). One
    with the gradients of pruned weights too is two passes at the current sparsity and one dense pass, or one through
    the weights whose gradients were computed. Recalibration of batch norms is forward passes alone. FLOPs of scoring
    and of extra work were measured.
    """
    sparse = dense = 0.0
    for event in events:
        if event.flops is not None:
            sparse, dense = sparse + event.sparse_flops, dense + event.flops
            continue
        examples, forward = event.examples, network.flops(event.kept)
        passes = 1 if event.kind == "recalibration" else PASSES
        weights = network.dense if event.kind == "dense_gradients" else network.flops(event.gradients or event.kept)
        sparse += examples * ((passes - 1) * forward + weights)
        dense += examples * passes * network.dense
    return sparse, dense


class Costing:
    """Computes the costs of finished experiments; each network is decoded once."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, Shapes | None] = {}

    def __call__(self, record: Excerpt) -> Costs:
        described = bytes(record.network)
        if described not in self._shapes:
            network = _NETWORK.decode(described)
            self._shapes[described] = shapes(network) if network else None
        known = self._shapes[described]
        return _costs(record, known) if known and record.status == "done" else _UNKNOWN


_NETWORK: msgspec.json.Decoder[Network | None] = msgspec.json.Decoder(Network | None)
_UNKNOWN = Costs(*[NOWHERE] * len(Costs._fields))


def _costs(record: Excerpt, network: Shapes) -> Costs:
    counted = record.sparsity.layers if record.sparsity else {}
    kept = [counted[name].kept for name in network.names]
    sparse, dense = training(network, record.events or ())
    inference, remaining = network.flops(kept), sum(kept)
    return Costs(
        training_flops=sparse,
        training_flops_dense=dense,
        inference_flops=inference,
        inference_share=inference / network.dense,
        theoretical_speedup=network.dense / inference if inference else math.inf,
        parameters=remaining + network.other_parameters,
        bytes_dense=network.bytes_dense,
        bytes_bitmap=network.bytes_bitmap + NUMBER * remaining,
        bytes_csr=network.bytes_csr + 2 * NUMBER * remaining,
        left_out=network.left_out,
    )
