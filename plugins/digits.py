"""Digits: 1,797 handwritten digits of 8×8 pixels that come with scikit-learn."""

from __future__ import annotations

from lth_bench import Dataset, hookimpl

TEST = 400


def read(split, root):
    """A fixed split, stratified by class; pixel values 0 to 16 become 0 to 255."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = np.round(images * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels.astype(np.int64), test_size=TEST, random_state=0, stratify=labels)
    return (parts[0], parts[2]) if split == "train" else (parts[1], parts[3])


DIGITS = Dataset(
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
