"""Dual polygons of decision boundaries in the plane (Alfarra et al. 2022, arXiv:2002.08838).

A network f(x) = B relu(A x + c) + d of two inputs decides between two of its outputs along {f_i = f_j}. As functions
of x, f_i - f_j = R_1 - R_2 with two tropical polynomials, whose Newton polygons are zonotopes Z_1 and Z_2. The boundary
lies in the tropical hypersurface of max(R_1, R_2), and the polygon dual to that is the hull of Z_1 and Z_2. Biases
move and subdivide, but do not change it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

DIRECTIONS = 720
FLAT = 1e-9
"""The share of its length below which a polygon's breadth is rounding."""


@dataclass(frozen=True)
class Polygon:
    """The zonotopes of two outputs and their hull, each as vertices V×2, counter-clockwise."""

    first: np.ndarray
    second: np.ndarray
    hull: np.ndarray

    @property
    def rays(self) -> np.ndarray:
        """Unit vectors R×2: the directions in which the boundary goes to infinity.

        They are the normals of the hull's edges between a vertex of one zonotope and a vertex of the other.
        """
        edges = np.roll(self.hull, -1, axis=0) - self.hull
        lengths = np.linalg.norm(edges, axis=1, keepdims=True)
        normals = (edges[:, ::-1] * [1, -1])[lengths[:, 0] > 0] / lengths[lengths > 0, None]
        leads = (self.first @ normals.T).max(0) - (self.second @ normals.T).max(0)
        return normals[np.abs(leads) <= FLAT * lengths.max()]


def dual_polygon(inward: np.ndarray, outward: np.ndarray, pair: tuple[int, int] = (0, 1)) -> Polygon:
    """The polygon of the boundary between two outputs of a network with weights `inward` p×2 and `outward` K×p."""
    shift = np.abs(outward[list(pair)]).sum(0) @ np.maximum(-inward, 0)
    first, second = (shift + zonotope(segments) for segments in generators(inward, outward, pair))
    points = np.vstack([first, second])
    return Polygon(first, second, points[hull(points)])


def generators(inward: np.ndarray, outward: np.ndarray, pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The generators p×2 of both zonotopes: each hidden unit's weights times what it adds to one output's lead."""
    one, other = outward[list(pair)]
    first = np.maximum(one, 0) + np.maximum(-other, 0)
    second = np.maximum(-one, 0) + np.maximum(other, 0)
    return first[:, None] * inward, second[:, None] * inward


def zonotope(segments: np.ndarray) -> np.ndarray:
    """The vertices, counter-clockwise, of the sum of the segments from the origin to each row; p rows make up to 2p."""
    downward = (segments[:, 1] < 0) | ((segments[:, 1] == 0) & (segments[:, 0] < 0))
    upward = np.where(downward[:, None], -segments, segments)
    upward = upward[np.argsort(np.arctan2(upward[:, 1], upward[:, 0]), kind="stable")]
    upward = upward[upward.any(axis=1)]
    lowest = segments[downward].sum(0)
    steps = np.vstack([upward, -upward])[:-1] if len(upward) else upward
    return np.vstack([lowest, lowest + steps.cumsum(0)])


def hull(points: np.ndarray) -> np.ndarray:
    """Where the corners of the convex hull are in points N×2, counter-clockwise: one of a point, two of a line."""
    centred = points - points.mean(0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    if lengths[1] > FLAT * lengths[0]:
        return np.asarray(ConvexHull(points).vertices)
    along = centred @ axes[0]
    return np.unique([along.argmin(), along.argmax()]) if np.ptp(along) else np.zeros(1, dtype=int)


def area(corners: np.ndarray) -> float:
    """The area of a polygon of corners V×2."""
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def directions(count: int = DIRECTIONS) -> np.ndarray:
    """Unit vectors around the circle, count×2."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def support(points: np.ndarray) -> np.ndarray:
    """How far points N×2 reach in each of the `directions`."""
    return (points @ directions().T).max(0)


def centred_support(points: np.ndarray) -> np.ndarray:
    """How far points N×2 reach in each of the `directions` from their hull's Steiner point."""
    reach, around = support(points), directions()
    return reach - around @ (2 * reach @ around / len(around))


def hausdorff(one: np.ndarray, other: np.ndarray) -> float:
    """The Hausdorff distance of the convex hulls of two sets of points N×2, over 720 directions."""
    return float(np.abs(support(one) - support(other)).max())


def radius(points: np.ndarray) -> float:
    """How far the hull of points N×2 reaches from its Steiner point."""
    return float(centred_support(points).max())


def shape_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Hausdorff distance of two hulls that are moved to one Steiner point and scaled to a mean radius of 1.

    It sees form and orientation alone; that of a hull without extent is NaN.
    """
    reaches = [centred_support(points) for points in (one, other)]
    if not all(reach.mean() > 0 for reach in reaches):
        return float("nan")
    first, second = (reach / reach.mean() for reach in reaches)
    return float(np.abs(first - second).max())
