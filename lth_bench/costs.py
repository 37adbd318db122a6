"""What an experiment cost, computed from its record; FLOPs = 2 × MACs, of one image where nothing else is said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NUMBER = 4  # bytes of a weight, and of an index
PASSES = 3  # forward, and backward for inputs and for weights


@dataclass(frozen=True)
class Shapes:
    """Shapes, sizes and FLOPs of a network's prunable layers, in their order, and all that is not prunable.

    `dense` are the FLOPs of a forward pass through the dense network, `each` those that every weight of a layer takes.
    """

    shapes: list[tuple[int, ...]]
    sizes: Floats
    each: Floats
    dense: float
    other_flops: float
    other_parameters: int

    def flops(self, kept: Floats) -> Floats:
        """FLOPs of a forward pass where so many weights of each layer are left; layers along the last axis."""
        return np.asarray(kept @ self.each + self.other_flops)

    def sizes_in_bytes(self, left: float) -> dict[str, float]:
        """Bytes of all parameters as 4-byte numbers: dense, with a bit for each weight, or as compressed sparse rows.

        `left` weights are left. Rows of a layer are its output channels; an index has 4 bytes.
        """
        rest = NUMBER * self.other_parameters
        rows = sum(shape[0] + 1 for shape in self.shapes)
        return {
            "bytes_dense": rest + NUMBER * float(self.sizes.sum()),
            "bytes_bitmap": rest + NUMBER * left + float(np.ceil(self.sizes / 8).sum()),
            "bytes_csr": rest + NUMBER * (2 * left + rows),
        }


def shapes(network: dict[str, Any]) -> Shapes:
    """What a record says of its network."""
    found = [tuple(layer["shape"]) for layer in network["layers"]]
    sizes = np.array([math.prod(shape) for shape in found], dtype=float)
    flops = np.array([layer["flops"] for layer in network["layers"]], dtype=float)
    other = float(network["other_flops"])
    dense = float(flops.sum()) + other
    return Shapes(found, sizes, flops / sizes, dense, other, network["parameters"] - int(sizes.sum()))


def training(network: Shapes, events: list[dict[str, Any]]) -> tuple[float, float]:
    """FLOPs of training and search: of kept weights alone, and of the same work on dense matrices.

    A pass forward and backward is three times the forward pass (Evci et al. 2020, arXiv:1911.11134, appendix H). One
    that has the gradients of pruned weights as well is two at the sparsity that holds and one dense. What is computed
    while the clock stands still was measured.
    """
    sparse = dense = 0.0
    timed = []
    for event in events:
        if "flops" in event:
            sparse, dense = sparse + event["sparse_flops"], dense + event["flops"]
        else:
            timed.append(event)
    if not timed:
        return sparse, dense
    examples = np.array([event["examples"] for event in timed], dtype=float)
    passes = network.flops(np.array([event["kept"] for event in timed], dtype=float))
    whole = np.array([event["kind"] == "dense_gradients" for event in timed])
    sparse += float(examples @ np.where(whole, (PASSES - 1) * passes + network.dense, PASSES * passes))
    return sparse, dense + PASSES * network.dense * float(examples.sum())


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
        if described != self._network or self._shapes is None:
            self._network, self._shapes = described, shapes(described)
        return _costs(record, self._shapes)


def _costs(record: dict[str, Any], network: Shapes) -> dict[str, float]:
    counted = record["sparsity"]["layers"]
    kept = np.array([counted[layer["name"]]["kept"] for layer in record["network"]["layers"]], dtype=float)
    sparse, dense = training(network, record["events"])
    inference, left = float(network.flops(kept)), float(kept.sum())
    return {
        "training_flops": sparse,
        "training_flops_dense": dense,
        "inference_flops": inference,
        "inference_share": inference / network.dense,
        "theoretical_speedup": network.dense / inference if inference else math.inf,
        "parameters": left + network.other_parameters,
        **network.sizes_in_bytes(left),
    }
