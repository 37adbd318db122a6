"""From what a data set reads to examples: checked, completed by what its training split shows, and split."""

from __future__ import annotations

from dataclasses import replace

import torch

from lth_bench.data.examples import Examples, Source
from lth_bench.data.pixels import moments, scale_and_shift
from lth_bench.errors import DataError
from lth_bench.experiments.datasets import Arrays, Dataset, Listing
from lth_bench.randomness import generator


def examples(dataset: Dataset, arrays: Arrays) -> Examples:
    """The arrays of a completed data set as tensors. Raises DataError for arrays of another kind."""
    assert dataset.classes is not None and dataset.mean is not None and dataset.std is not None
    for name, array, dtype, dimensions in (("images", arrays[0], "uint8", 4), ("labels", arrays[1], "int64", 1)):
        if (str(array.dtype), array.ndim) != (dtype, dimensions):
            actual = f"{array.dtype} in {array.ndim}"
            raise DataError(f"{dataset.summary}: {name} must be {dtype} in {dimensions} dimensions, not {actual}")
    if len(arrays[0]) != len(arrays[1]) or not len(arrays[0]):
        raise DataError(f"{dataset.summary}: {len(arrays[0])} images, but {len(arrays[1])} labels")
    if not 0 <= arrays[1].min() <= arrays[1].max() < dataset.classes:
        raise DataError(f"{dataset.summary}: labels must lie in 0 to {dataset.classes - 1}")
    if not len(dataset.mean) == len(dataset.std) == (channels := arrays[0].shape[1]):
        raise DataError(f"{dataset.summary}: mean and std must be given for {channels} channels")
    images, labels = (torch.from_numpy(array) for array in arrays)
    return Examples(images, labels, *scale_and_shift(dataset.mean, dataset.std))


def completed(dataset: Dataset, training: Arrays | Listing) -> Dataset:
    """The data set with classes, mean and std: those that it does not give are measured on its training split.

    Raises DataError.
    """
    labels = training.labels if isinstance(training, Listing) else training[1]
    classes = int(labels.max(initial=0)) + 1 if dataset.classes is None else dataset.classes
    if dataset.mean is not None and dataset.std is not None:
        return replace(dataset, classes=classes)
    if isinstance(training, Listing):
        raise DataError(f"{dataset.summary}: mean and std must be given for images that are not held in memory")
    mean, std = moments(training[0])
    if not all(std):
        raise DataError(f"{dataset.summary}: a channel has the same value in every pixel; give mean and std")
    return replace(dataset, classes=classes, mean=mean, std=std)


def held_out(data: Source, validation: int) -> tuple[Source, Source]:
    """Training data without `validation` examples, and those examples; the same split for every seed."""
    order = torch.randperm(len(data), generator=generator(0, "validation")).to(data.labels.device)
    chosen, _ = order[:validation].sort()
    rest, _ = order[validation:].sort()
    return data.subset(rest), data.subset(chosen)
