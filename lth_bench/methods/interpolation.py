"""The line between two networks: the states on it, and how far it rises above its ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lth_bench.storage.tensors import State


def between(one: State, other: State, alpha: float) -> State:
    """The state (1 - α)·one + α·other: weights, scales, shifts and running statistics; counters are those of one.

    At 0 and 1, and between a state and itself, it is exact.
    """
    import torch

    return {
        name: torch.lerp(value, other[name].to(value.device), alpha) if value.is_floating_point() else value
        for name, value in one.items()
    }


def barrier(values: Sequence[float]) -> float:
    """How far the highest of these values, from one end of a line to the other, is above the mean of the two ends.

    Frankle et al. 2020, arXiv:1912.05671, section 2.
    """
    return max(values) - (values[0] + values[-1]) / 2
