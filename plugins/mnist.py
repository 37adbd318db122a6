"""MNIST and FashionMNIST from IDX files, gzipped or not, in the folders that torchvision uses."""

from __future__ import annotations

import gzip
import math
from functools import partial
from pathlib import Path

from lth_bench import DataError, Dataset, hookimpl

PREFIX = {"train": "train", "test": "t10k"}


def read(name, split, root):
    """Images N×1×28×28 and labels of the set that torchvision calls `name`; raises DataError."""
    import numpy as np

    folder, source = Path(name, "raw"), f"torchvision.datasets.{name}(root, download=True)"
    if root is None:
        raise DataError(
            f"{name} needs a data root that holds {folder}/: give one with --data DIR or LTH_BENCH_DATA, for instance "
            f"the folder given to {source}"
        )
    images, labels = (
        _idx(root / folder / f"{PREFIX[split]}-{part}-idx{dimensions}-ubyte", dimensions, source)
        for part, dimensions in (("images", 3), ("labels", 1))
    )
    if len(images) != len(labels):
        raise DataError(f"{name} in {root / folder}: {len(images)} {split} images, but {len(labels)} labels")
    return images[:, None].copy(), labels.astype(np.int64)


def download(name, root):
    """Fetches the files into a data root, with their MD5s checked; raises DataError."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        kind(root, download=True)
    except Exception as error:  # of the network, the disk or what came
        wanted, reason = " or ".join(kind.mirrors), " ".join(str(error).split())
        raise DataError(f"{name} could not be fetched from {wanted} into {root}: {reason}") from error


def _idx(path, dimensions, source):
    """An array of unsigned bytes from an IDX file, or from the same with .gz behind."""
    import numpy as np

    zipped = path.with_name(path.name + ".gz")
    found = next((file for file in (path, zipped) if file.is_file()), None)
    if found is None:
        raise DataError(
            f"{path.parent.parent.name} is not there: looked for {path} and {zipped.name}; get it with "
            f"{source}, or give another root with --data"
        )
    try:
        content = gzip.decompress(found.read_bytes()) if found is zipped else found.read_bytes()
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise DataError(f"{found} cannot be read: {error}") from error
    start = 4 + 4 * dimensions
    header = np.frombuffer(content[:start], ">u4") if len(content) >= start else [0]
    shape = tuple(int(size) for size in header[1:])
    if header[0] != 0x800 + dimensions:
        raise DataError(f"{found} is not an IDX file of unsigned bytes in {dimensions} dimensions")
    if len(content) != start + math.prod(shape):
        raise DataError(f"{found} is truncated: {len(content)} bytes do not fit its shape {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


MNIST = Dataset(
    summary="70,000 handwritten digits, 28×28, grey (LeCun et al. 1998); 55,000 / 5,000 / 10,000; needs a data root",
    classes=10,
    mean=(0.1307,),
    std=(0.3081,),
    validation=5000,
    read=partial(read, "MNIST"),
    download=partial(download, "MNIST"),
)
FASHION_MNIST = Dataset(
    summary="70,000 articles of clothing, 28×28, grey (Xiao et al. 2017); 55,000 / 5,000 / 10,000; needs a data root",
    classes=10,
    mean=(0.2860,),
    std=(0.3530,),
    validation=5000,
    read=partial(read, "FashionMNIST"),
    download=partial(download, "FashionMNIST"),
)


@hookimpl
def register_datasets(register):
    register("mnist", MNIST)
    register("fashion_mnist", FASHION_MNIST)
