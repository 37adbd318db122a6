"""A data set as the harness knows it: how to read it, and a few facts about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Split = Literal["train", "test"]
Arrays = tuple["np.ndarray", "np.ndarray"]


@dataclass(frozen=True)
class Listing:
    """A split whose images are read when needed: `open(i)` gives image i, in RGB or grey; labels are int64 of shape N.

    Networks see squares of `size` pixels a side. `digest` identifies the content and is the same on every machine;
    `stamp` changes when a file may have changed, with its modification time for instance.
    """

    labels: np.ndarray
    open: Callable[[int], Image.Image]
    size: int
    channels: int
    digest: str
    stamp: str = ""


@dataclass(frozen=True)
class Dataset:
    """An image data set.

    `read(split, root)` returns images, uint8 of shape N×C×H×W, and labels, int64 of shape N; or a Listing, for images
    too many for memory. `root` is the data root or None. `mean` and `std` are per channel, for pixels in [0, 1]; None
    takes those of the training split. `classes` None takes one more than the largest label of the training split.
    `validation` training examples are held out, the same ones for every seed. `download`, if given, fetches the files
    into a data root. `read` and `download` raise DataError. Raise `revision` when the data set becomes another one.
    Tables name the data set by `title`, or by the name under which it is registered.
    """

    summary: str
    classes: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    validation: int
    read: Callable[[Split, Path | None], Arrays | Listing]
    download: Callable[[Path], None] | None = None
    revision: int = 1
    title: str = ""
