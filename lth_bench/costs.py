"""What an experiment cost, computed from its record; FLOPs = 2 × MACs, of one image where nothing else is said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NUMBER = 4  # bytes of a weight, and of an index
PASSES = 3  # forward, and backward for inputs and for weights


@dataclass(frozen=True)
class Shapes:
    """Shapes and FLOPs of a network's prunable layers, in their order, and all that is not prunable."""

    shapes: list[tuple[int, ...]]
    layer_flops: Floats
    other_flops: float
    other_parameters: int

    @cached_property
    def sizes(self) -> Floats:
        return np.array([math.prod(shape) for shape in self.shapes], dtype=float)

    @cached_property
    def dense(self) -> float:
        """FLOPs of a forward pass through the dense network."""
        return float(self.layer_flops.sum()) + self.other_flops

    def flops(self, kept: Floats) -> Floats:
        """FLOPs of a forward pass where so many weights of each layer are left; layers along the last axis."""
        return np.asarray(kept @ (self.layer_flops / self.sizes) + self.other_flops)

    def sizes_in_bytes(self, kept: Floats) -> dict[str, float]:
        """Bytes of all parameters as 4-byte numbers: dense, with a bit for each weight, or as compressed sparse rows.

        Rows of a layer are its output channels; an index has 4 bytes.
        """
        rest = NUMBER * self.other_parameters
        bits = np.ceil(self.sizes / 8).sum()
        rows = sum(shape[0] + 1 for shape in self.shapes)
        return {
            "bytes_dense": rest + NUMBER * self.sizes.sum(),
            "bytes_bitmap": rest + NUMBER * kept.sum() + bits,
            "bytes_csr": rest + NUMBER * (2 * kept.sum() + rows),
        }


def shapes(network: dict[str, Any]) -> Shapes:
    """What a record says of its network."""
    found = [tuple(layer["shape"]) for layer in network["layers"]]
    prunable = sum(math.prod(shape) for shape in found)
    flops = np.array([layer["flops"] for layer in network["layers"]], dtype=float)
    return Shapes(found, flops, float(network["other_flops"]), network["parameters"] - prunable)


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


def costs(record: dict[str, Any]) -> dict[str, float]:
    """The costs of an experiment that is done; none where its record does not describe the network."""
    if "network" not in record:
        return {}
    network = shapes(record["network"])
    counted = record["sparsity"]["layers"]
    kept = np.array([counted[layer["name"]]["kept"] for layer in record["network"]["layers"]], dtype=float)
    sparse, dense = training(network, record["events"])
    inference = float(network.flops(kept))
    return {
        "training_flops": sparse,
        "training_flops_dense": dense,
        "inference_flops": inference,
        "inference_share": inference / network.dense,
        "theoretical_speedup": network.dense / inference if inference else math.inf,
        "parameters": kept.sum() + network.other_parameters,
        **network.sizes_in_bytes(kept),
    }
