"""The parquet files of Hugging Face's image data sets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lth_bench import Count, DataError, Dataset, hookimpl
from lth_bench_plugins.image_files import Mean, Std, absolute, decoded, stacked

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
IMAGES = ("img", "image")
ROWS = 1024


@dataclass(frozen=True)
class Parquet:
    """Images in the parquet files of a Hugging Face data set: train-*.parquet, and test-*.parquet or validation-*.

    The files lie in the folder `path` or in its data/. Images are JPEG or PNG of one size, in a column `img` or
    `image`; labels are in the column that `label` names. `mean` and `std` are measured unless they are given.
    """

    path: str
    validation: Count = 5000
    label: str = "label"
    mean: Mean | None = None
    std: Std | None = None

    def __post_init__(self):
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std go together, with as many values each")

    def __call__(self):
        return Dataset(f"images in {self.path}", None, self.mean, self.std, self.validation, self.read)

    def read(self, split, root):
        import numpy as np

        files = _files(absolute(self.path, root, "parquet"), split)
        opened = [_opened(file) for file in files]
        count = sum(file.metadata.num_rows for file in opened)
        if not count:
            raise DataError(f"{files[0].parent} holds no {split} images: its files have no rows")
        labels = np.full(count, -1, np.int64)
        rows = (row for file, parquet in zip(files, opened, strict=True) for row in self._rows(file, parquet))
        return stacked(_noting(rows, labels), count), labels

    def _rows(self, file, parquet):
        """The name, the image and the label of every row of a file."""
        columns = [_column(file, parquet, IMAGES), _column(file, parquet, (self.label,))]
        for number, (image, label) in enumerate(_values(file, parquet, columns)):
            name = f"row {number} of {file}"
            yield name, decoded(_bytes(image, name), name), _label(label, name)


def _files(folder, split):
    """The files of a split in order. Raises DataError where some or all are missing."""
    places = [folder, folder / "data"]
    for pattern in (f"{name}-*.parquet" for name in SPLITS[split]):
        for place in places:
            if files := sorted(place.glob(pattern)):
                _check_complete(files)
                return files
    names = " or ".join(f"{name}-*.parquet" for name in SPLITS[split])
    raise DataError(
        f"the {split} split of {folder} is not there: looked for {names} in it and in data/; get it with "
        f"`hf download NAME --repo-type dataset --local-dir {folder}`, or give another root with --data"
    )


def _check_complete(files):
    """Raises DataError unless there are as many files as names such as train-00001-of-00005 say."""
    if match := re.fullmatch(r"(.*)-\d+-of-(\d+).*\.parquet", files[0].name):
        number = int(match[2])
        if len(files) != number:
            raise DataError(
                f"{files[0].parent} holds {len(files)} of {number} files {match[1]}-*.parquet; get the rest"
            )


def _opened(file):
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise DataError(f"reading {file} needs pyarrow: pip install 'lth-bench[parquet]'") from error
    try:
        return pyarrow.parquet.ParquetFile(file, page_checksum_verification=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def _values(file, parquet, columns):
    """The values of these columns, row by row."""
    import pyarrow

    try:
        for batch in parquet.iter_batches(ROWS, columns=columns, use_threads=False):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(file, error) from error


def _damaged(file, error):
    return DataError(f"{file} is damaged or truncated, or no parquet file: {' '.join(str(error).split())}")


def _column(file, parquet, names):
    known = parquet.schema_arrow.names
    for name in names:
        if name in known:
            return name
    raise DataError(f"{file} has no column {' or '.join(names)}; it has: {', '.join(known)}")


def _bytes(image, name):
    content = image.get("bytes") if isinstance(image, dict) else None
    if not isinstance(content, bytes):
        raise DataError(f"{name} holds no image: wanted a struct with `bytes`, found {type(content or image).__name__}")
    return content


def _label(value, name):
    if type(value) is not int or value < 0:
        raise DataError(f"{name} has no label: wanted a whole number from 0, found {value!r}")
    return value


def _noting(rows, labels):
    """Pairs of a name and an image; each row's label is written into `labels` on the way."""
    for i, (name, image, label) in enumerate(rows):
        labels[i] = label
        yield name, image


@hookimpl
def register_datasets(register):
    register("parquet", Parquet)
