"""Data sets made of digits, for tickets of one to be trained on another: half of the classes; exchanged pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lth_bench import hookimpl
from lth_bench_plugins.digits import DIGITS

PIXELS = 64


def part(first, split, root):
    """Five classes of digits from the first one on, labelled from 0; with the training and test images of digits."""
    images, labels = DIGITS.read(split, root)
    chosen = (labels >= first) & (labels < first + 5)
    return images[chosen], labels[chosen] - first


def permuted(split, root):
    """All digits, with the 64 pixels of every image in the same other order."""
    import numpy as np

    images, labels = DIGITS.read(split, root)
    order = np.random.RandomState(0).permutation(PIXELS)  # a stream that no version of NumPy changes
    return images.reshape(-1, PIXELS)[:, order].reshape(images.shape), labels


def half(first, sizes):
    """The data set of five classes."""
    title = f"digits {first} to {first + 4}"
    summary = f"the classes {first} to {first + 4} of digits, 8×8, grey; {sizes}; needs no download"
    return replace(DIGITS, title=title, summary=summary, classes=5, validation=100, read=partial(part, first))


@hookimpl
def register_datasets(register):
    register("digits_0_4", half(0, "601 / 100 / 200"))
    register("digits_5_9", half(5, "596 / 100 / 200"))
    summary = "digits with the same pixels exchanged in every image, 8×8, grey; 1,197 / 200 / 400; needs no download"
    register("permuted_digits", replace(DIGITS, title="permuted digits", summary=summary, read=permuted))
