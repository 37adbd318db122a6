"""Examples of a split, in memory or elsewhere, and the batches made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from lth_bench.data.augmentation import augmented
from lth_bench.data.pixels import normalised, scale_and_shift
from lth_bench.experiments.recipe import Recipe
from lth_bench.hashing import sha256
from lth_bench.storage.tensors import serialized


class Batch(NamedTuple):
    """Normalised inputs, B×C×H×W, and class labels, B."""

    inputs: Tensor
    labels: Tensor


@dataclass(slots=True)
class Draw:
    """One training batch of a recipe: the examples from `start` on in `order`, which lists all examples of an epoch."""

    recipe: Recipe
    seed: int
    step: int
    epoch: int
    order: Tensor
    start: int

    @property
    def index(self) -> Tensor:
        return self.order[self.start : self.start + self.recipe.batch_size]


class Source(Protocol):
    """A split of a data set, with images of `shape` C×H×W and N `labels`."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def batch(self, index: Tensor | slice) -> Batch:
        """The examples at these indices, without augmentation."""

    def chunks(self, size: int) -> Iterator[Batch]:
        """All examples in order, without augmentation, `size` at a time."""

    def training_batches(self, draws: Sequence[Draw]) -> Iterator[Batch]:
        """Augmented batches, each a pure function of its draw; each draw starts where the one before ends."""

    def subset(self, index: Tensor) -> Self:
        """The examples at these indices as a split of their own."""

    def to(self, device: torch.device) -> Self:
        """The same examples, whose batches are on this device."""

    def renormalised(self, mean: Sequence[float], std: Sequence[float]) -> Self:
        """The same examples with another normalisation, `mean` and `std` of each channel for pixels in [0, 1]."""

    def digest(self) -> str:
        """A hash of the content and of its normalisation."""

    def faults(self, recipe: Recipe) -> list[str]:
        """What a recipe asks for that cannot be done with these images, one sentence each."""


@dataclass(frozen=True)
class Examples:
    """A split in memory: images N×C×H×W, uint8 or float, and labels N, int64.

    Pixels enter the network as `pixel * scale + shift`, per channel, or unchanged without scale and shift.
    """

    images: Tensor
    labels: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor | slice) -> Batch:
        return Batch(self._inputs(self.images[index]), self.labels[index])

    def chunks(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def training_batches(self, draws: Sequence[Draw]) -> Iterator[Batch]:
        """Gathers the images of all draws at once: during a step of training this code falls out of the CPU cache."""
        size = draws[0].recipe.batch_size
        index = draws[0].order[draws[0].start : draws[-1].start + size]
        batches = zip(
            draws, *(part.index_select(0, index).split(size) for part in (self.images, self.labels)), strict=True
        )
        for draw, images, labels in batches:
            yield Batch(self._inputs(augmented(images, draw.recipe, draw.seed, draw.step)), labels)

    def renormalised(self, mean: Sequence[float], std: Sequence[float]) -> Examples:
        scale, shift = (value.to(self.images.device) for value in scale_and_shift(mean, std))
        return replace(self, scale=scale, shift=shift)

    def digest(self) -> str:
        tensors = {name: value for name, value in vars(self).items() if value is not None}
        return sha256(serialized(tensors))

    def faults(self, recipe: Recipe) -> list[str]:
        side, faults = min(self.shape[1:]), []
        if recipe.transforms:
            faults.append("transforms are for images that are not held in memory; here there are crop, flip and cutout")
        sizes = {"crop": recipe.crop, "cutout": recipe.cutout}
        return faults + [
            f"a {name} of {size} is more than the {side} pixels" for name, size in sizes.items() if size > side
        ]

    def _inputs(self, images: Tensor) -> Tensor:
        return images if self.scale is None or self.shift is None else normalised(images, self.scale, self.shift)

    def to(self, device: torch.device) -> Examples:
        scale, shift = (value if value is None else value.to(device) for value in (self.scale, self.shift))
        return Examples(self.images.to(device), self.labels.to(device), scale, shift)

    def subset(self, index: Tensor) -> Examples:
        return Examples(self.images[index], self.labels[index], self.scale, self.shift)
