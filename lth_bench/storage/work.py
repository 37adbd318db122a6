"""The parts of a record from which costs are computed: the network, and the work done on it."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class RecordedLayer(Struct, frozen=True):
    """A prunable weight, and the FLOPs of one image's forward pass through its dense layer."""

    name: str
    shape: list[int]
    flops: int


class Network(Struct, frozen=True):
    """What the costs of a network depend on; `left_out` counts the matrix weights that no method prunes."""

    layers: list[RecordedLayer]
    other_flops: int
    parameters: int
    left_out: int | UnsetType = UNSET


class RecordedEvent(Struct, frozen=True, omit_defaults=True):
    """Consecutive ticks of one kind; or work while the clock stood still or beside ticks, with its measured FLOPs.

    `gradients` counts the weights whose gradients were computed, where these are others than those kept.
    """

    kind: str
    step: int
    steps: int
    examples: int
    kept: list[int]
    flops: int | None = None
    sparse_flops: int = 0
    gradients: list[int] | None = None
