"""Images in folders or tar files, a folder per class."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from lth_bench import Count, DataError, Dataset, Listing, hookimpl
from lth_bench_plugins.image_files import MODES, Mean, Opener, Std, absolute, stacked
from lth_bench_plugins.image_places import image_places

SPLITS = {"train": ("train",), "test": ("test", "val", "validation")}


@dataclass(frozen=True)
class Images:
    """Images in train/ and val/ (or test/, validation/), a folder per class, or in tar files of these names.

    timm's reader lists the folders; an image's class is the folder it lies in, and classes are numbered in alphabetical
    order. `train.tar` holds folders or a tar file per class; `train/` may hold a tar file per class as well. Without
    `size`, images are held in memory and must have one size; with it they are read when they are needed, and networks
    see squares of `size` pixels a side. One value of `mean` and `std` means grey images, three mean RGB. The digest of
    images that are not held in memory covers their names, sizes in bytes and labels, not their pixels.
    """

    path: str
    size: Count | None = None
    validation: Count = 5000
    mean: Mean = (0.485, 0.456, 0.406)
    std: Std = (0.229, 0.224, 0.225)

    def __post_init__(self):
        if len(self.mean) != len(self.std) or len(self.mean) not in MODES:
            raise ValueError("mean and std have one value for grey or three for RGB")

    def __call__(self):
        return Dataset(f"images in {self.path}", None, self.mean, self.std, self.validation, self.read)

    def read(self, split, root):
        import numpy as np

        folder = absolute(self.path, root, "images")
        splits = {name: sorted(image_places(_located(folder, name))) for name in SPLITS}
        classes, places = _classes(folder, splits), splits[split]
        labels = np.array([classes[place.category] for place in places], np.int64)
        opener = self._opener(places)
        if self.size is not None:
            digest, stamp = _digest(places, labels), _stamp(places)
            return Listing(labels, opener, self.size, len(self.mean), digest, stamp)
        images = ((opener.name(i), opener(i)) for i in range(len(labels)))
        return stacked(images, len(labels), "; or give `size` to have them resized"), labels

    def _opener(self, places):
        import numpy as np

        names, paths = (
            np.array([os.fsencode(getattr(place, field)) for place in places]) for field in ("name", "path")
        )
        offsets, sizes = (
            np.array([getattr(place, field) for place in places], np.int64) for field in ("offset", "size")
        )
        return Opener(names, paths, offsets, sizes, MODES[len(self.mean)])


def _located(folder, split):
    """The folder or tar file of a split. Raises DataError."""
    candidates = [path for name in SPLITS[split] for path in (folder / name, folder / f"{name}.tar")]
    for path in candidates:
        if path.exists():
            return path
    names = ", ".join(path.name for path in candidates)
    raise DataError(
        f"the {split} images of {folder} are not there: looked for {names} in it; put a folder per class into one, "
        "or give another root with --data"
    )


def _classes(folder, splits):
    """The number of every class, by name. Raises DataError where the splits have other classes, or there is one."""
    train, test = ({place.category for place in splits[split]} for split in SPLITS)
    if train != test:
        only = "; ".join(
            f"only in {name}: {', '.join(sorted(names))}"
            for name, names in (("train", train - test), ("test", test - train))
            if names
        )
        raise DataError(f"the classes of the training and the test images in {folder} differ: {only}")
    if len(train) < 2:
        raise DataError(f"all images in {folder} are of one class, {', '.join(train)}: make a folder per class")
    return {name: label for label, name in enumerate(sorted(train))}


def _digest(places, labels):
    digest = hashlib.sha256()
    for place, label in zip(places, labels, strict=True):
        digest.update(b"%d %d %s\0" % (label, place.size, os.fsencode(place.name)))
    return digest.hexdigest()


def _stamp(places):
    """A hash of the files' modification times."""
    times = {place.path: os.stat(place.path).st_mtime_ns for place in places}  # noqa: PTH116 (a million of them)
    return hashlib.sha256(repr(sorted(times.items())).encode()).hexdigest()


@hookimpl
def register_datasets(register):
    register("images", Images)
