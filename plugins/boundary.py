"""The analysis of decision boundaries in the plane, by the polygons dual to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lth_bench import Count, Paper, Unsuitable, hookimpl
from lth_bench_plugins.last_layers import Layers, brief, last_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import Tensor

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas
    from lth_bench_plugins.polygons import Polygon

PICTURED = ("network", "points")
"""Columns with what the figure draws, as JSON."""


@dataclass(frozen=True)
class Boundary:
    """The polygon dual to a decision boundary, next to that of the dense network of the same seed.

    For networks that end in an affine layer, ReLU and an affine layer on two features; deeper ones are looked at on
    their last two features. A row for each pair of classes, or of the `classes` given. `distance` is the Hausdorff
    distance of the two polygons over the radius of the dense one; `shape_distance` that after both are moved to one
    centre and scaled to a mean radius of 1, so that it sees form and orientation alone. Polygons do not see biases. A
    dense network is compared with those of other seeds: what another draw of weights makes of it.

    The figure shows the first pair and seed, with `points` training examples.
    """

    classes: tuple[int, ...] = ()
    points: Count = 200

    title = "Decision boundary"
    question = "Does the decision boundary of a ticket keep the shape of the dense network's?"
    caption = (
        "The polygon dual to the decision boundary, the hull of two zonotopes, with test accuracy; normals of edges "
        "between them are the rays in which the boundary goes to infinity; distance: Hausdorff distance to the dense "
        "polygon of the same seed, in its radii; in shape: the same after both are moved to one centre and scaled to a "
        "mean radius of 1; rows of two dense networks compare seeds"
    )
    columns: ClassVar = {
        "distance": "distance",
        "shape_distance": "in shape",
        "area": "area, by dense",
        "corners": "corners",
        "rays": "rays",
        "pair": "classes",
    }
    paper = Paper(
        "alfarra2022decision",
        "On the Decision Boundaries of Neural Networks: A Tropical Geometry Perspective",
        "Motasem Alfarra and Adel Bibi and Hasan Hammoud and Mohamed Gaafar and Bernard Ghanem",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2022,
        arxiv="2002.08838",
    )

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        from lth_bench_plugins.polygons import area

        batch = study.examples(min(self.points, study.training_examples))
        network, features = last_layers(study.network(study.ticket.final), batch.inputs)
        accuracy = study.record.test.last.accuracy
        points = brief([*map(list, zip(*features.T.tolist(), batch.labels.tolist(), strict=True))])
        others = dict(self._others(study, batch.inputs))
        for pair in self._pairs(len(network.offset)):
            polygon, name = network.polygon(pair), "–".join(map(str, pair))
            own = {"corners": len(polygon.hull), "rays": len(polygon.rays), "accuracy": accuracy}
            pictured = {"network": network.of(pair).text, "points": points}
            compared = {other: compared_to(polygon, one.polygon(pair)) for other, one in others.items()}
            if own_dense := others.get(""):
                reference = area(own_dense.polygon(pair).hull)
                own |= compared.pop("") | ({"area": area(polygon.hull) / reference} if reference else {})
            yield {"pair": name, **own, **pictured}
            for other, distances in compared.items():
                yield {"pair": name, "other": other, **distances}

    def _pairs(self, outputs: int) -> list[tuple[int, int]]:
        known = self.classes or tuple(range(outputs))
        if len(known) < 2 or len({*known}) < len(known) or not all(0 <= one < outputs for one in known):
            raise Unsuitable(f"classes must be two or more different ones of 0 to {outputs - 1}, not {list(known)}")
        return list(combinations(known, 2))

    def _others(self, study: Study, inputs: Tensor) -> Iterator[tuple[str, Layers]]:
        """The dense network of the same seed, under no key; or, of a dense network, those of other seeds."""
        if study.experiment.sparsity:
            yield "", last_layers(study.network(study.dense_end), inputs)[0]
            return
        for peer in study.peers:
            if replace(peer.experiment, seed=study.experiment.seed) == study.experiment:
                yield peer.key, last_layers(study.network(peer.ticket.final), inputs)[0]

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds, or pairs of seeds."""
        from lth_bench.results.analyses import summary

        alone = ["pair"] if rows["pair"].nunique() == 1 else []
        table = summary(rows.drop(columns=[*PICTURED, *alone])).drop(columns=["dataset", "model", "recipe"])
        return table.fillna({"other_method": "–"}) if "other_method" in table else table

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        from lth_bench_plugins.planes import draw

        return draw(rows, canvas)


def compared_to(polygon: Polygon, dense: Polygon) -> dict[str, float]:
    """The distances of two polygons; that in shape is absent where one has no extent."""
    from lth_bench_plugins.polygons import hausdorff, radius, shape_distance

    reach, shape = radius(dense.hull), shape_distance(polygon.hull, dense.hull)
    distances = {"distance": hausdorff(polygon.hull, dense.hull) / reach} if reach else {}
    return {**distances, **({"shape_distance": shape} if np.isfinite(shape) else {})}


@hookimpl
def register_analyses(register):
    register("boundary", Boundary)
