"""What a data set is to the harness: how to read it, and a few facts about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "test"]
Arrays = tuple["np.ndarray", "np.ndarray"]


class DataError(Exception):
    """A data set that is absent or cannot be read; the sentence says where it was looked for."""


@dataclass(frozen=True)
class Dataset:
    """An image data set.

    `read(split, root)` returns images, uint8 of shape N×C×H×W, and labels, int64 of shape N; `root` is the data
    root or None. `mean` and `std` are per channel, for pixels in [0, 1]. `validation` training examples are held
    out, the same ones for every seed. Raises DataError.
    """

    summary: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: int
    read: Callable[[Split, Path | None], Arrays]
