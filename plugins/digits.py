"""Digits: 1,797 handwritten digits of 8×8 pixels that come with scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lth_bench import Dataset, hookimpl

TRAINING = 1397
ORDER = Path(__file__).with_name("digits_order.txt")
"""The positions of the training images, then those of the test images: a split that is stratified by class."""


def read(split, root):
    """A fixed split; pixel values 0 to 16 become 0 to 255. Reads the file alone: importing scikit-learn takes long."""
    import numpy as np

    table = np.loadtxt(Path(find_spec("sklearn").origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    order = np.array(ORDER.read_text().split(), dtype=int)
    rows = table[order[:TRAINING] if split == "train" else order[TRAINING:]]
    return np.round(rows[:, :-1] * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)


DIGITS = Dataset(
    title="digits",
    summary="1,797 handwritten digits, 8×8, grey (UCI, from scikit-learn); 1,197 / 200 / 400; needs no download",
    classes=10,
    mean=(0.3053,),
    std=(0.3760,),
    validation=200,
    read=read,
)


@hookimpl
def register_datasets(register):
    register("digits", DIGITS)
