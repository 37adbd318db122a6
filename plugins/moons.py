"""Moons: two interleaved half-circles of points in the plane, scikit-learn's `make_moons`."""

from __future__ import annotations

from lth_bench import Dataset, hookimpl

CENTRE = (0.5, 0.25)
STEPS = 64
NOISE = 0.15
POINTS = {"train": 1400, "test": 1000}
SEEDS = {"train": 0, "test": 1}


def read(split, root):
    """Points as images of one pixel with two channels, x and y, in steps of 1/64 around the centre of the moons."""
    import numpy as np
    from sklearn.datasets import make_moons

    points, labels = make_moons(POINTS[split], noise=NOISE, random_state=SEEDS[split])
    pixels = np.round(128 + STEPS * (points - CENTRE)).clip(0, 255)
    return pixels.astype(np.uint8)[:, :, None, None], labels.astype(np.int64)


MOONS = Dataset(
    title="moons",
    summary="2,400 points of two half-circles in the plane (scikit-learn, noise 0.15); 1,200 / 200 / 1,000",
    classes=2,
    mean=None,
    std=None,
    validation=200,
    read=read,
)


@hookimpl
def register_datasets(register):
    register("moons", MOONS)
