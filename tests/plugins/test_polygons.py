"""Dual polygons against what takes 2^p steps, against the network itself, and by hand."""

from itertools import product

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from lth_bench_plugins.polygons import (
    area,
    directions,
    dual_polygon,
    generators,
    hausdorff,
    hull,
    radius,
    shape_distance,
    support,
    zonotope,
)


def weights(units, outputs=2, seed=0):
    draws = np.random.default_rng(seed)
    return draws.normal(size=(units, 2)), draws.normal(size=(outputs, units))


def lead(inward, outward, points, pair=(0, 1)):
    """f_i - f_j at points N×2 of a network without biases."""
    outputs = np.maximum(points @ inward.T, 0) @ outward.T
    return outputs[:, pair[0]] - outputs[:, pair[1]]


def all_sums(segments):
    """The 2^p sums of subsets of the rows."""
    return np.array(list(product([0, 1], repeat=len(segments)))) @ segments


def in_order(vertices):
    """Vertices in the order of their coordinates, whichever comes first in the polygon."""
    return vertices[np.lexsort(vertices.round(9).T)]


@pytest.mark.parametrize("units", [2, 3, 7, 10])
def test_a_zonotope_has_the_vertices_of_all_sums_of_its_segments(units):
    segments, _ = weights(units)
    sums = all_sums(segments)
    assert np.allclose(in_order(zonotope(segments)), in_order(sums[ConvexHull(sums).vertices]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("outputs", "pair"), [(2, (0, 1)), (4, (3, 1))])
def test_the_hull_is_that_of_the_sums_of_both_outputs(seed, outputs, pair):
    """The sums are taken from the definition: over j of w_j times either end of the segment from A⁻_j to A⁺_j."""
    inward, outward = weights(6, outputs, seed)
    low, high = np.maximum(-inward, 0), np.maximum(inward, 0)
    plus, minus = np.maximum(outward[list(pair)], 0), np.maximum(-outward[list(pair)], 0)
    sums = []
    for here, there in ((0, 1), (1, 0)):
        shares, offset = plus[here] + minus[there], (minus[here] + plus[there]) @ low
        for choice in product([0, 1], repeat=len(inward)):
            ends = np.where(np.array(choice)[:, None] == 1, high, low)
            sums.append(shares @ ends + offset)
    sums = np.array(sums)
    polygon = dual_polygon(inward, outward, pair)
    assert np.allclose(in_order(polygon.hull), in_order(sums[ConvexHull(sums).vertices]))
    assert area(polygon.hull) == pytest.approx(ConvexHull(sums).volume)


@pytest.mark.parametrize("seed", range(5))
def test_support_functions_differ_by_the_lead_of_one_output_without_biases(seed):
    inward, outward = weights(50, 3, seed)
    for pair in ((0, 1), (2, 0)):
        polygon = dual_polygon(inward, outward, pair)
        difference = support(polygon.first) - support(polygon.second)
        assert np.allclose(difference, lead(inward, outward, directions(), pair))


@pytest.mark.parametrize("seed", range(25))
def test_edges_between_the_zonotopes_have_the_rays_of_the_boundary_as_normals(seed):
    inward, outward = weights(20, seed=seed)
    angles = np.linspace(0, 2 * np.pi, 100_001)
    leads = lead(inward, outward, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    true = angles[:-1][np.sign(leads[:-1]) != np.sign(leads[1:])]
    rays = dual_polygon(inward, outward).rays
    found = np.sort(np.arctan2(rays[:, 1], rays[:, 0]) % (2 * np.pi))
    assert len(found) == len(true) and np.allclose(found, true, atol=1e-4)


def test_a_boundary_of_two_units_by_hand():
    """f_1 = relu(x), f_2 = relu(y): equal on the diagonal, and where both units are off."""
    polygon = dual_polygon(np.eye(2), np.eye(2))
    assert polygon.first.tolist() == [[0, 0], [1, 0]] and polygon.second.tolist() == [[0, 0], [0, 1]]
    assert in_order(polygon.hull).tolist() == [[0, 0], [1, 0], [0, 1]] and area(polygon.hull) == 0.5
    expected = [[-1, 0], [0, -1], [np.sqrt(0.5), np.sqrt(0.5)]]
    assert np.allclose(in_order(polygon.rays), in_order(np.array(expected)))


def test_the_generators_of_both_zonotopes_share_out_the_weights_of_a_unit():
    inward, outward = weights(8)
    first, second = generators(inward, outward, (0, 1))
    assert np.allclose(first + second, np.abs(outward).sum(0)[:, None] * inward)


@pytest.mark.parametrize(
    ("inward", "corners", "rays"),
    [
        (np.zeros((3, 2)), 1, 0),
        (np.array([[1.0, 2.0], [0.0, 0.0], [2.0, 4.0]]), 2, 2),
        (np.array([[1.0, 0.0], [-3.0, 0.0], [0.0, 0.0]]), 2, 2),
    ],
)
def test_pruned_networks_make_points_and_lines(inward, corners, rays):
    polygon = dual_polygon(inward, np.array([[1.0, 2.0, 3.0], [4.0, -1.0, 0.0]]))
    assert len(polygon.hull) == corners and area(polygon.hull) == pytest.approx(0, abs=1e-12)
    assert len(polygon.rays) == rays and np.allclose(lead(inward, np.eye(3)[:2], polygon.rays), 0)


def test_the_hull_leaves_out_points_within_and_on_the_edges():
    square = np.array([[0, 0], [1, 0], [2, 0], [2, 2], [0, 2], [1, 1.0]])
    assert sorted(hull(square)) == [0, 2, 3, 4]


def test_distances_of_moved_scaled_and_turned_squares():
    square = np.array([[1.0, 1], [-1, 1], [-1, -1], [1, -1]])
    turned = np.sqrt(2) * np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert hausdorff(square, square + np.array([3, 0])) == pytest.approx(3)
    assert hausdorff(square, 3 * square) == pytest.approx(2 * np.sqrt(2))
    assert shape_distance(square, 3 * square + np.array([5, 7])) == pytest.approx(0, abs=1e-12)
    mean = 4 / np.pi
    assert radius(square + 9) == pytest.approx(np.sqrt(2))
    assert shape_distance(square, turned) == pytest.approx((np.sqrt(2) - 1) / mean, rel=1e-3)
    assert np.isnan(shape_distance(square, np.ones((2, 2))))
