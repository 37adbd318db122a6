"""What an experiment cost, computed from its record; FLOPs = 2 × MACs, of one image where nothing else is said."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import mul
from typing import Any

NUMBER = 4  # bytes of a weight, and of an index
PASSES = 3  # forward, and backward for inputs and for weights


@dataclass(frozen=True)
class Shapes:
    """What costs of a network depend on, beside the weights that are left in each prunable layer, in their order.

    `dense` are the FLOPs of a forward pass through the dense network, `each` those that every weight of a layer takes,
    `other_flops` and `other_parameters` what is not prunable. Bytes are of a form that holds no weight: with 4-byte
    numbers for all that is not prunable, and a bit for each weight or an index for each row, an output channel.
    """

    each: list[float]
    dense: float
    other_flops: float
    other_parameters: int
    bytes_dense: int
    bytes_bitmap: int
    bytes_csr: int

    def flops(self, kept: Iterable[int]) -> float:
        """FLOPs of a forward pass where so many weights of each layer are left."""
        return float(sum(map(mul, kept, self.each))) + self.other_flops


def shapes(network: dict[str, Any]) -> Shapes:
    """What a record says of its network."""
    found = [layer["shape"] for layer in network["layers"]]
    sizes, flops = [math.prod(shape) for shape in found], [layer["flops"] for layer in network["layers"]]
    other, others = network["other_flops"], network["parameters"] - sum(sizes)
    rest = NUMBER * others
    return Shapes(
        each=[count / size for count, size in zip(flops, sizes, strict=True)],
        dense=sum(flops) + other,
        other_flops=other,
        other_parameters=others,
        bytes_dense=rest + NUMBER * sum(sizes),
        bytes_bitmap=rest + sum(-(-size // 8) for size in sizes),
        bytes_csr=rest + NUMBER * sum(shape[0] + 1 for shape in found),
    )


def training(network: Shapes, events: list[dict[str, Any]]) -> tuple[float, float]:
    """FLOPs of training and search: of kept weights alone, and of the same work on dense matrices.

    A pass forward and backward is three times the forward pass (Evci et al. 2020, arXiv:1911.11134, appendix H). One
    that has the gradients of pruned weights as well is two at the sparsity that holds and one dense. What is computed
    while the clock stands still was measured.
    """
    sparse = dense = 0.0
    for event in events:
        if "flops" in event:
            sparse, dense = sparse + event["sparse_flops"], dense + event["flops"]
            continue
        examples, forward = event["examples"], network.flops(event["kept"])
        weights = network.dense if event["kind"] == "dense_gradients" else forward
        sparse += examples * ((PASSES - 1) * forward + weights)
        dense += examples * PASSES * network.dense
    return sparse, dense


class Costing:
    """The costs of experiments that are done, none where a record does not describe its network.

    What the last record said of its network is kept: the next one usually says the same.
    """

    def __init__(self) -> None:
        self._network: dict[str, Any] | None = None
        self._shapes: Shapes | None = None

    def __call__(self, record: dict[str, Any]) -> dict[str, float]:
        described = record.get("network")
        if described is None:
            return {}
        if self._shapes is None or (described is not self._network and described != self._network):
            self._network, self._shapes = described, shapes(described)
        return _costs(record, self._shapes)


def _costs(record: dict[str, Any], network: Shapes) -> dict[str, float]:
    counted = record["sparsity"]["layers"]
    kept = [counted[layer["name"]]["kept"] for layer in record["network"]["layers"]]
    sparse, dense = training(network, record["events"])
    inference, left = network.flops(kept), sum(kept)
    return {
        "training_flops": sparse,
        "training_flops_dense": dense,
        "inference_flops": inference,
        "inference_share": inference / network.dense,
        "theoretical_speedup": network.dense / inference if inference else math.inf,
        "parameters": left + network.other_parameters,
        "bytes_dense": network.bytes_dense,
        "bytes_bitmap": network.bytes_bitmap + NUMBER * left,
        "bytes_csr": network.bytes_csr + 2 * NUMBER * left,
    }
