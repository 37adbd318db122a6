"""CIFAR-10 and CIFAR-100 in torchvision's format."""

from __future__ import annotations

from functools import partial

from lth_bench import DataError, Dataset, hookimpl


def read(name, split, root):
    """Images N×3×32×32 and labels of the set that torchvision calls `name`; raises DataError.

    The files are pickles: torchvision opens none whose MD5 is not that of the published one.
    """
    import numpy as np
    from torchvision import datasets

    kind, source = getattr(datasets, name), f"torchvision.datasets.{name}(root, download=True)"
    if root is None:
        raise DataError(
            f"{name} needs a data root that holds {kind.base_folder}/: give one with --data DIR or LTH_BENCH_DATA, for "
            f"instance the folder given to {source}"
        )
    _check(kind, root / kind.base_folder, source)
    data = kind(root, train=split == "train")
    return np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)), np.array(data.targets, np.int64)


def download(name, root):
    """Fetches the files into a data root, with their MD5s checked; raises DataError."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        kind(root, download=True)
    except Exception as error:  # of the network, the disk or what came
        reason = " ".join(str(error).split())
        raise DataError(f"{name} could not be fetched from {kind.url} into {root}: {reason}") from error


def _check(kind, folder, source):
    from torchvision.datasets.utils import check_integrity

    for file, digest in (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])):
        path = folder / file
        if not path.is_file():
            where = f"looked for {path}; get it with {source}, or give another root with --data"
            raise DataError(f"{kind.__name__} is not there: {where}")
        if not check_integrity(str(path), digest):
            raise DataError(f"{path} is damaged: its MD5 is not {digest}; get it again with {source}")


CIFAR10 = Dataset(
    summary="60,000 photographs, 10 classes, 32×32 (Krizhevsky 2009); 45,000 / 5,000 / 10,000; needs a data root",
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    validation=5000,
    read=partial(read, "CIFAR10"),
    download=partial(download, "CIFAR10"),
)
CIFAR100 = Dataset(
    summary="60,000 photographs, 100 classes, 32×32 (Krizhevsky 2009); 45,000 / 5,000 / 10,000; needs a data root",
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    validation=5000,
    read=partial(read, "CIFAR100"),
    download=partial(download, "CIFAR100"),
)


@hookimpl
def register_datasets(register):
    register("cifar10", CIFAR10)
    register("cifar100", CIFAR100)
