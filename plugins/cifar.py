"""CIFAR-10 and CIFAR-100 in torchvision's format."""

from __future__ import annotations

from lth_bench import DataError, hookimpl
from lth_bench_plugins.torchvision_sets import absent, folder_of, published, source


def read(name, split, root):
    """Images N×3×32×32 and labels of the set that torchvision calls `name`; raises DataError.

    The files are pickles: torchvision opens only those with the MD5 of the published file.
    """
    import numpy as np
    from torchvision import datasets

    kind = getattr(datasets, name)
    _check(kind, folder_of(name, kind.base_folder, root))
    data = kind(root, train=split == "train")
    return np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)), np.array(data.targets, np.int64)


def _check(kind, folder):
    from torchvision.datasets.utils import check_integrity

    for file, digest in (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])):
        path = folder / file
        if not path.is_file():
            raise absent(kind.__name__, path)
        if not check_integrity(str(path), digest):
            fetched = source(kind.__name__)
            raise DataError(f"{path} is damaged: its MD5 is not {digest}; get it again with {fetched}")


CIFAR10 = published(
    "CIFAR10",
    read,
    title="CIFAR-10",
    summary="60,000 photographs, 10 classes, 32×32 (Krizhevsky 2009); 45,000 / 5,000 / 10,000; needs a data root",
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
CIFAR100 = published(
    "CIFAR100",
    read,
    title="CIFAR-100",
    summary="60,000 photographs, 100 classes, 32×32 (Krizhevsky 2009); 45,000 / 5,000 / 10,000; needs a data root",
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)


@hookimpl
def register_datasets(register):
    register("cifar10", CIFAR10)
    register("cifar100", CIFAR100)
