"""Values between the layers of a traced network: the channels that they have left, and what passes those on."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh),
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
ELEMENTWISE_CALLS = {
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu, functional.silu),
    *(functional.mish, functional.hardswish, functional.dropout, torch.relu, torch.tanh),
    *("relu", "relu_", "tanh", "contiguous"),
}
GATES = (nn.Sigmoid, nn.Hardsigmoid)
GATE_CALLS = {torch.sigmoid, functional.sigmoid, functional.hardsigmoid, "sigmoid", "sigmoid_"}
POOLING_CALLS = {
    *(functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d),
}
SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
MEANS = {torch.mean, "mean"}
FLATTENINGS = {torch.flatten, "flatten"}


@dataclass(frozen=True)
class Value:
    """A value of the network: a mask of the channels that it has left, None if unknown, their axis, and its dimensions.

    The axis is 1, or -1 for the last where the number of dimensions is unknown (0). The channels of a `flat` value are
    blocks of as many elements as an image had.
    """

    alive: Tensor | None = None
    axis: int = 1
    dimensions: int = 0
    flat: bool = False


def covers(value: Value, count: int) -> bool:
    """Whether the channels of a value are known, and are those of a layer with so many inputs."""
    if value.alive is None:
        return False
    return count % len(value.alive) == 0 if value.flat else count == len(value.alive)


def over(value: Value, weight: Tensor) -> Tensor:
    """The channels of a value over the inputs, axis 1, of a weight; all of them if they are unknown."""
    count = weight.shape[1]
    if value.alive is None:
        return torch.ones(count, dtype=torch.bool, device=weight.device)
    return value.alive.repeat_interleave(count // len(value.alive))


def pooled(value: Value) -> Value | None:
    return value if value.dimensions == 4 and value.axis == 1 else None


def averaged(value: Value, dim: Any = None, keepdim: bool = False, **_: Any) -> Value | None:
    """What the mean over the axes of an image leaves."""
    axes = {axis % 4 for axis in (dim if isinstance(dim, tuple | list) else [dim])} if dim is not None else set()
    if pooled(value) is None or axes != {2, 3}:
        return None
    return value if keepdim else replace(value, dimensions=2)


def flattened(value: Value, start_dim: int = 0, end_dim: int = -1, **_: Any) -> Value | None:
    if start_dim != 1 or end_dim != -1 or value.axis != 1:
        return None
    return replace(value, dimensions=2, flat=value.flat or value.dimensions != 2)
