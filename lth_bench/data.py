"""Examples in memory and the batches made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lth_bench.datasets import Arrays, DataError, Dataset
from lth_bench.streams import generator


class Batch(NamedTuple):
    """Normalised inputs, B×C×H×W, and class labels, B."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Examples:
    """A split in memory: images N×C×H×W (uint8, or floats that are taken as they are) and labels N.

    Pixels enter the network as `image * scale + shift`, per channel.
    """

    images: Tensor
    labels: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor | slice) -> Batch:
        inputs = self.images[index]
        if self.scale is not None and self.shift is not None:
            inputs = inputs.to(self.scale.dtype).mul(self.scale).add_(self.shift)
        return Batch(inputs, self.labels[index])

    def to(self, device: torch.device) -> Examples:
        scale, shift = (value if value is None else value.to(device) for value in (self.scale, self.shift))
        return Examples(self.images.to(device), self.labels.to(device), scale, shift)

    def subset(self, index: Tensor) -> Examples:
        return Examples(self.images[index], self.labels[index], self.scale, self.shift)


def examples(dataset: Dataset, arrays: Arrays) -> Examples:
    """What a data set read, as tensors. Raises DataError for arrays of another kind than promised."""
    for name, array, kind, dimensions in (("images", arrays[0], "uint8", 4), ("labels", arrays[1], "int64", 1)):
        if (str(array.dtype), array.ndim) != (kind, dimensions):
            found = f"{array.dtype} in {array.ndim}"
            raise DataError(f"{dataset.summary}: {name} must be {kind} in {dimensions} dimensions, not {found}")
    if not 0 <= arrays[1].min() <= arrays[1].max() < dataset.classes:
        raise DataError(f"{dataset.summary}: labels must lie in 0 to {dataset.classes - 1}")
    images, labels = (torch.from_numpy(array) for array in arrays)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    return Examples(images, labels, 1 / (255 * std), -mean / std)


def held_out(data: Examples, validation: int) -> tuple[Examples, Examples]:
    """Splits training data into what is trained on and `validation` examples, the same for every seed."""
    order = torch.randperm(len(data), generator=generator(0, "validation")).to(data.labels.device)
    chosen, _ = order[:validation].sort()
    rest, _ = order[validation:].sort()
    return data.subset(rest), data.subset(chosen)


class Stream:
    """Training batches as a pure function of (seed, step); the incomplete last batch of an epoch is left out."""

    def __init__(self, data: Examples, batch_size: int, seed: int) -> None:
        if batch_size > len(data):
            raise ValueError(f"batch_size is {batch_size}, but there are only {len(data)} training examples")
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.steps_per_epoch = len(data) // batch_size
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self.data), generator=generator(self.seed, "order", epoch))
            self._epoch, self._order = epoch, order.to(self.data.labels.device)
        start = position * self.batch_size
        return self.data.batch(self._order[start : start + self.batch_size])

    def sample(self, count: int, purpose: tuple[object, ...]) -> Batch:
        """`count` training examples drawn without replacement, for one purpose."""
        if not 0 < count <= len(self.data):
            raise ValueError(f"cannot sample {count} of {len(self.data)} training examples")
        order = torch.randperm(len(self.data), generator=generator(self.seed, *purpose))
        return self.data.batch(order[:count].to(self.data.labels.device))

    def balanced_sample(self, per_class: int, purpose: tuple[object, ...]) -> Batch:
        """`per_class` examples of every class, sorted by class."""
        order = torch.randperm(len(self.data), generator=generator(self.seed, *purpose))
        labels = self.data.labels.cpu()[order]
        parts = [order[labels == label][:per_class] for label in labels.unique()]
        if short := [int(labels.unique()[i]) for i, part in enumerate(parts) if len(part) < per_class]:
            raise ValueError(f"classes {short} have fewer than {per_class} training examples")
        return self.data.batch(torch.cat(parts).to(self.data.labels.device))
