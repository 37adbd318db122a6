"""Places for labels beside points, where they cover as little as can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lth_bench.results.arrays import Floats

SIDES = np.array([(1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1)], dtype=float)
DISTANCES = np.repeat([7.0, 10, 14, 20, 28, 38, 50, 64], len(SIDES))
FAR = 1.2  # square points that may be covered to be a point nearer


@dataclass(frozen=True)
class Label:
    """The point that a label names, and the lower left corner and size of its box; in points from a panel's corner."""

    point: Floats
    corner: Floats
    box: Floats


def placed(points: list[tuple[Floats, Floats]], taken: list[Floats], size: Floats) -> list[Label]:
    """Labels for points, given with the sizes of their boxes, each where it covers least of the boxes taken before."""
    labels: list[Label] = []
    for point, box in points:
        sides = np.tile(SIDES, (len(DISTANCES) // len(SIDES), 1))
        tried = point + 0.5 * box * (sides - 1) + sides * DISTANCES[:, None]
        tried = np.clip(tried, 2, np.maximum(size - box - 2, 2))
        best = tried[int(np.argmin(_covered(tried, box, np.array(taken)) + FAR * DISTANCES))]
        taken = [*taken, np.concatenate([best, best + box])]
        labels.append(Label(point, best, box))
    return labels


def _covered(corners: Floats, box: Floats, taken: Floats) -> Floats:
    """How much of the boxes taken a box would cover at each of these corners."""
    shared = np.minimum((corners + box)[:, None], taken[None, :, 2:]) - np.maximum(corners[:, None], taken[None, :, :2])
    return np.asarray(np.maximum(shared, 0).prod(axis=2).sum(axis=1))


def around(one: Floats, two: Floats, margin: float) -> Floats:
    """The box around two points."""
    return np.concatenate([np.minimum(one, two) - margin, np.maximum(one, two) + margin])
