"""What a thin network saves, beside what the record of its masked network says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from lth_bench.export.finding import Finished
from lth_bench.models.flops import passage


@dataclass(frozen=True)
class Savings:
    """Parameters, prunable weights and FLOPs of an image of a thin network, and of the record.

    `parameters` of the record are those of the dense network. `larger` has a sentence for each layer in which the thin
    network has weights that the record does not count.
    """

    parameters: int
    dense_parameters: int
    weights: int
    recorded_weights: int
    flops: int
    recorded_flops: int
    larger: list[str]


def savings(thin: nn.Module, finished: Finished, shape: tuple[int, ...]) -> Savings:
    """What this network saves that has been made of a finished experiment."""
    parameters = dict(thin.named_parameters())
    weights = {name: parameters[name] for name in finished.sparsity.layers}
    cost = passage(thin, weights, shape)
    return Savings(
        parameters=sum(parameter.numel() for parameter in parameters.values()),
        dense_parameters=finished.network.parameters,
        weights=sum(weight.numel() for weight in weights.values()),
        recorded_weights=finished.sparsity.kept,
        flops=sum(cost.layers.values()) + cost.other,
        recorded_flops=round(_recorded_flops(finished)),
        larger=list(_larger(thin, finished)),
    )


def _recorded_flops(finished: Finished) -> float:
    counts = finished.sparsity.layers
    layers = finished.network.layers
    sparse = sum(layer.flops * counts[layer.name].kept / counts[layer.name].size for layer in layers)
    return finished.network.other_flops + sparse


def _larger(thin: nn.Module, finished: Finished) -> Iterator[str]:
    for name, counts in finished.sparsity.layers.items():
        layer = thin.get_submodule(name.rpartition(".")[0])
        count = thin.get_parameter(name).numel()
        if count > counts.kept:
            yield f"{name} has {count:,} weights, {counts.kept:,} of them kept: {_reason(layer, count == counts.size)}"


def _reason(layer: nn.Module, whole: bool) -> str:
    if not whole:
        return "the others are zeros within its channels"
    if getattr(layer, "groups", 1) > 1:
        return "a grouped convolution keeps all its channels"
    return "its channels could not be followed, or none of them is zero as a whole"
