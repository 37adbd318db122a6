"""Places for labels beside points, where they cover nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lth_bench.results.arrays import Bools, Floats

SIDES = np.array([(1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1)], dtype=float)
DISTANCES = np.repeat([0.9, 1.3, 1.8, 2.5, 3.4], len(SIDES))  # em
ALONG = np.linspace(0.35, 1.0, 8)  # shares of a tie that may cross nothing


@dataclass(frozen=True)
class Label:
    """A text, the point that it names, and the lower left corner and size of its box, in points from a panel's."""

    text: str
    point: Floats
    corner: Floats
    box: Floats

    @property
    def nearest(self) -> Floats:
        """The place of the box that is nearest to the point."""
        return np.clip(self.point, self.corner, self.corner + self.box)

    @property
    def tie(self) -> Floats:
        """Places between the point and its label."""
        return self.point + (self.nearest - self.point) * ALONG[:, None]


def placed(
    points: list[tuple[Floats, Floats, str]], taken: list[Floats], size: Floats, em: float
) -> list[Label | None]:
    """Labels for points, given with the sizes of their boxes and their texts; None for one without a free place.

    A label lies in the panel, near its point, and neither it nor the tie between them covers what is taken, nor others.
    """
    labels: list[Label | None] = []
    for point, box, text in points:
        sides = np.tile(SIDES, (len(DISTANCES) // len(SIDES), 1))
        corners = point + 0.5 * box * (sides - 1) + sides * DISTANCES[:, None] * em
        inside = ((corners >= 1) & (corners + box <= size - 1)).all(axis=1)
        corners = corners[inside & _free(corners, corners + box, np.array(taken))]
        others = np.array([item for item in taken if not _within(point, item)])
        tried = (Label(text, point, corner, box) for corner in corners)
        label = next((label for label in tried if _tie_is_free(label, others)), None)
        if label:
            ties = (np.concatenate([place - 0.2, place + 0.2]) for place in label.tie)
            taken = [*taken, np.concatenate([label.corner, label.corner + box]), *ties]
        labels.append(label)
    return labels


def _free(lower: Floats, upper: Floats, taken: Floats) -> Bools:
    """Which of these boxes cover nothing of the boxes taken."""
    if not len(taken):
        return np.ones(len(lower), dtype=bool)
    shared = np.minimum(upper[:, None], taken[None, :, 2:]) - np.maximum(lower[:, None], taken[None, :, :2])
    return np.asarray((shared > 0).all(axis=2).sum(axis=1) == 0)


def _tie_is_free(label: Label, taken: Floats) -> bool:
    return bool(_free(label.tie - 0.2, label.tie + 0.2, taken).all())


def _within(point: Floats, box: Floats) -> bool:
    return bool((point >= box[:2]).all() and (point <= box[2:]).all())


def around(one: Floats, two: Floats, margin: float) -> Floats:
    """The box around two points."""
    return np.concatenate([np.minimum(one, two) - margin, np.maximum(one, two) + margin])
