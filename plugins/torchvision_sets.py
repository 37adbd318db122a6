"""What the data sets that torchvision can download share; no plugin itself."""

from __future__ import annotations

from functools import partial

from lth_bench import DataError, Dataset


def published(name, read, **facts):
    """The Dataset that torchvision calls `name`; `read(name, split, root)` reads a split of it."""
    return Dataset(validation=5000, read=partial(read, name), download=partial(download, name), **facts)


def folder_of(name, folder, root):
    """The folder of a data set in the data root; raises DataError without a root."""
    if root is None:
        raise DataError(
            f"{name} needs a data root that holds {folder}/: give one with --data DIR or LTH_BENCH_DATA, for instance "
            f"the folder given to {source(name)}"
        )
    return root / folder


def absent(name, places):
    """The DataError for a data set that is not in these places."""
    where = f"looked for {places}; get it with {source(name)}, or give another root with --data"
    return DataError(f"{name} is not there: {where}")


def source(name):
    """The call that downloads a data set by hand."""
    return f"torchvision.datasets.{name}(root, download=True)"


def download(name, root):
    """Downloads the files into a data root and checks their MD5; raises DataError."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        kind(root, download=True)
    except Exception as error:  # of the network, the disk or a damaged download
        address, reason = " or ".join(getattr(kind, "mirrors", None) or [kind.url]), " ".join(str(error).split())
        raise DataError(f"{name} could not be fetched from {address} into {root}: {reason}") from error
