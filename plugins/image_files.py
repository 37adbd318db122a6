"""Image files and what they decode to, for data sets that are read from files; no plugin itself."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from lth_bench import DataError

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("JPEG", "PNG")
GREY = ("1", "L", "LA")
MODES = {1: "L", 3: "RGB"}  # of PIL images, by channels

Mean = tuple[Annotated[float, Interval(ge=0, le=1)], ...]
Std = tuple[Annotated[float, Interval(gt=0, le=1)], ...]


def absolute(path, root, name):
    """A path of the data set `name`, below the data root unless it is absolute; raises DataError without a root."""
    if root is None and not Path(path).is_absolute():
        raise DataError(f"{name} needs a data root that holds {path}: give one with --data DIR or LTH_BENCH_DATA")
    return Path(root or "/") / path


def decoded(content, name, mode=None):
    """A JPEG or PNG file as a PIL image in this mode; without one, in L if it is grey and in RGB if not.

    Raises DataError with the file's name.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        image.load()
        return _converted(image, mode)
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is no image: neither {' nor '.join(FORMATS)}") from error
    except Exception as error:  # a decoder raises whatever it stumbles over
        raise DataError(f"{name} is damaged, or no image that can be read: {error}") from error


def _converted(image, mode):
    if image.mode[0] in "IF":
        raise ValueError(f"its pixels ({image.mode}) have more than 8 bits")
    mode = mode or ("L" if image.mode in GREY else "RGB")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def stacked(images, count, advice=""):
    """Pixels N×C×H×W, uint8, of `count` pairs of a name and a PIL image; grey images become RGB if any image is RGB.

    Raises DataError if sizes differ, with `advice` at the end.
    """
    import numpy as np

    stack, first = None, ""
    for i, (name, image) in enumerate(images):
        pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
        if stack is None:
            stack, first = np.empty((count, *pixels.shape), np.uint8), name
        if pixels.shape[1:] != stack.shape[2:]:
            sizes = f"{name} has {_size(pixels)} pixels, but {first} has {_size(stack)}"
            raise DataError(f"images in memory must have one size: {sizes}{advice}")
        if len(pixels) > stack.shape[1]:
            stack = stack.repeat(len(pixels), axis=1)
        stack[i] = pixels
    return stack


def _size(pixels):
    return "×".join(map(str, pixels.shape[-2:]))


@dataclass(frozen=True)
class Opener:
    """Opens image i of a split; holds arrays instead of objects, so that processes share their memory."""

    names: np.ndarray
    paths: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    mode: str

    def __call__(self, i):
        path, size = Path(os.fsdecode(self.paths[i])), int(self.sizes[i])
        try:
            with path.open("rb") as file:
                file.seek(int(self.offsets[i]))
                content = file.read(size)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) != size:
            raise DataError(f"{self.name(i)} has changed since it was listed: {len(content)} bytes instead of {size}")
        return decoded(content, self.name(i), self.mode)

    def name(self, i):
        path, name = os.fsdecode(self.paths[i]), os.fsdecode(self.names[i])
        return path if path.endswith(name) else f"{path}:{name}"
