"""MNIST and FashionMNIST from IDX files, gzipped or not, in the folders that torchvision uses."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

from lth_bench import DataError, hookimpl
from lth_bench_plugins.torchvision_sets import absent, folder_of, published

PREFIX = {"train": "train", "test": "t10k"}


def read(name, split, root):
    """Images N×1×28×28 and labels of the set that torchvision calls `name`; raises DataError."""
    import numpy as np

    folder = folder_of(name, Path(name, "raw"), root)
    images, labels = (
        _idx(folder / f"{PREFIX[split]}-{part}-idx{dimensions}-ubyte", dimensions)
        for part, dimensions in (("images", 3), ("labels", 1))
    )
    if len(images) != len(labels):
        raise DataError(f"{name} in {folder}: {len(images)} {split} images, but {len(labels)} labels")
    return images[:, None].copy(), labels.astype(np.int64)


def _idx(path, dimensions):
    """An array of unsigned bytes from an IDX file, or from the gzipped file with .gz after its name."""
    import numpy as np

    zipped = path.with_name(path.name + ".gz")
    file = next((file for file in (path, zipped) if file.is_file()), None)
    if file is None:
        raise absent(path.parent.parent.name, f"{path} and {zipped.name}")
    try:
        content = gzip.decompress(file.read_bytes()) if file is zipped else file.read_bytes()
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    start = 4 + 4 * dimensions
    header = np.frombuffer(content[:start], ">u4") if len(content) >= start else [0]
    shape = tuple(int(size) for size in header[1:])
    if header[0] != 0x800 + dimensions:
        raise DataError(f"{file} is not an IDX file of unsigned bytes in {dimensions} dimensions")
    if len(content) != start + math.prod(shape):
        raise DataError(f"{file} is truncated: {len(content)} bytes do not fit its shape {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


MNIST = published(
    "MNIST",
    read,
    title="MNIST",
    summary="70,000 handwritten digits, 28×28, grey (LeCun et al. 1998); 55,000 / 5,000 / 10,000; needs a data root",
    classes=10,
    mean=(0.1307,),
    std=(0.3081,),
)
FASHION_MNIST = published(
    "FashionMNIST",
    read,
    title="Fashion-MNIST",
    summary="70,000 articles of clothing, 28×28, grey (Xiao et al. 2017); 55,000 / 5,000 / 10,000; needs a data root",
    classes=10,
    mean=(0.2860,),
    std=(0.3530,),
)


@hookimpl
def register_datasets(register):
    register("mnist", MNIST)
    register("fashion_mnist", FASHION_MNIST)
