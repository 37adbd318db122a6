"""Examples in memory and the batches made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from lth_bench.data.augmentation import augmented
from lth_bench.errors import DataError
from lth_bench.experiments.datasets import Arrays, Dataset, Listing
from lth_bench.experiments.recipe import Recipe
from lth_bench.hashing import sha256
from lth_bench.randomness import generator
from lth_bench.storage.tensors import serialized


class Batch(NamedTuple):
    """Normalised inputs, B×C×H×W, and class labels, B."""

    inputs: Tensor
    labels: Tensor


@dataclass(slots=True)
class Draw:
    """A training batch: a place in the order of an epoch, all of whose examples `order` names."""

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
    """A split of a data set; `shape` is that of its images, C×H×W, and `labels` are N."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def batch(self, index: Tensor | slice) -> Batch:
        """These examples as they are evaluated."""

    def chunks(self, size: int) -> Iterator[Batch]:
        """All examples in order, as they are evaluated."""

    def training_batches(self, draws: Sequence[Draw]) -> Iterator[Batch]:
        """Examples as the recipe varies them, each batch a pure function of its draw; draws follow on one another."""

    def subset(self, index: Tensor) -> Self: ...

    def to(self, device: torch.device) -> Self: ...

    def digest(self) -> str:
        """A hash of the content, and of how it enters the network."""

    def faults(self, recipe: Recipe) -> list[str]:
        """What of a recipe cannot be done with these images."""


@dataclass(frozen=True)
class Examples:
    """A split in memory: images N×C×H×W (uint8, or floats that are taken as they are) and labels N.

    Pixels enter the network as `image * scale + shift`, per channel.
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
        return Batch(self._normalised(self.images[index]), self.labels[index])

    def chunks(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def training_batches(self, draws: Sequence[Draw]) -> Iterator[Batch]:
        """Gathers all at once: between two steps of training, the processor forgets the code that does it."""
        size = draws[0].recipe.batch_size
        index = draws[0].order[draws[0].start : draws[-1].start + size]
        images, labels = (whole.index_select(0, index).split(size) for whole in (self.images, self.labels))
        for draw, rows, known in zip(draws, images, labels, strict=True):
            yield Batch(self._normalised(augmented(rows, draw.recipe, draw.seed, draw.step)), known)

    def digest(self) -> str:
        tensors = {name: value for name, value in vars(self).items() if value is not None}
        return sha256(serialized(tensors))

    def faults(self, recipe: Recipe) -> list[str]:
        found = ["transforms are for images that are not held in memory; here there are crop, flip and cutout"]
        side = min(self.shape[1:])
        large = [f"a {name} of {getattr(recipe, name)}" for name in ("crop", "cutout") if getattr(recipe, name) > side]
        return [*(found if recipe.transforms else []), *(f"{what} is more than the {side} pixels" for what in large)]

    def _normalised(self, images: Tensor) -> Tensor:
        if self.scale is None or self.shift is None:
            return images
        if images.dtype == self.scale.dtype:
            return images.mul(self.scale).add_(self.shift)
        return images.to(self.scale.dtype).mul_(self.scale).add_(self.shift)

    def to(self, device: torch.device) -> Examples:
        scale, shift = (value if value is None else value.to(device) for value in (self.scale, self.shift))
        return Examples(self.images.to(device), self.labels.to(device), scale, shift)

    def subset(self, index: Tensor) -> Examples:
        return Examples(self.images[index], self.labels[index], self.scale, self.shift)


def examples(dataset: Dataset, arrays: Arrays) -> Examples:
    """What a data set that leaves nothing open read, as tensors. Raises DataError for arrays of another kind."""
    assert dataset.classes is not None and dataset.mean is not None and dataset.std is not None
    for name, array, kind, dimensions in (("images", arrays[0], "uint8", 4), ("labels", arrays[1], "int64", 1)):
        if (str(array.dtype), array.ndim) != (kind, dimensions):
            found = f"{array.dtype} in {array.ndim}"
            raise DataError(f"{dataset.summary}: {name} must be {kind} in {dimensions} dimensions, not {found}")
    if len(arrays[0]) != len(arrays[1]) or not len(arrays[0]):
        raise DataError(f"{dataset.summary}: {len(arrays[0])} images, but {len(arrays[1])} labels")
    if not 0 <= arrays[1].min() <= arrays[1].max() < dataset.classes:
        raise DataError(f"{dataset.summary}: labels must lie in 0 to {dataset.classes - 1}")
    if not len(dataset.mean) == len(dataset.std) == (channels := arrays[0].shape[1]):
        raise DataError(f"{dataset.summary}: mean and std must be given for {channels} channels")
    images, labels = (torch.from_numpy(array) for array in arrays)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    return Examples(images, labels, 1 / (255 * std), -mean / std)


def settled(dataset: Dataset, training: Arrays | Listing) -> Dataset:
    """A data set with nothing left open: what it does not say is counted and measured on its training split.

    Raises DataError.
    """
    labels = training.labels if isinstance(training, Listing) else training[1]
    classes = int(labels.max(initial=0)) + 1 if dataset.classes is None else dataset.classes
    if dataset.mean is None or dataset.std is None:
        if isinstance(training, Listing):
            raise DataError(f"{dataset.summary}: mean and std must be given for images that are not held in memory")
        mean, std = _moments(dataset, training[0])
        return replace(dataset, classes=classes, mean=mean, std=std)
    return replace(dataset, classes=classes)


def _moments(dataset: Dataset, images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel for pixels in [0, 1]."""
    counts = [np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(images.shape[1])]
    pixels = np.arange(256) / 255
    means = [float(count @ pixels / count.sum()) for count in counts]
    spreads = [float(count @ (pixels - mean) ** 2 / count.sum()) for count, mean in zip(counts, means, strict=True)]
    if not all(spreads):
        raise DataError(f"{dataset.summary}: a channel has the same value in every pixel; give mean and std")
    return tuple(round(mean, 4) for mean in means), tuple(round(math.sqrt(spread), 4) for spread in spreads)


def held_out(data: Source, validation: int) -> tuple[Source, Source]:
    """Splits training data into what is trained on and `validation` examples, the same for every seed."""
    order = torch.randperm(len(data), generator=generator(0, "validation")).to(data.labels.device)
    chosen, _ = order[:validation].sort()
    rest, _ = order[validation:].sort()
    return data.subset(rest), data.subset(chosen)
