"""The analysis of decision boundaries in the plane, by the polygons dual to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lth_bench import Count, Paper, Unsuitable, hookimpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import Tensor, nn

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas
    from lth_bench.storage.tensors import State
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
        points = _text([*map(list, zip(*features.T.tolist(), batch.labels.tolist(), strict=True))])
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
            yield "", last_layers(study.network(_dense(study)), inputs)[0]
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


@dataclass(frozen=True)
class Layers:
    """f(x) = outward relu(inward x + biases) + offset, with weights p×2 and K×p."""

    inward: np.ndarray
    biases: np.ndarray
    outward: np.ndarray
    offset: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The outputs at points N×2, N×K."""
        return np.maximum(points @ self.inward.T + self.biases, 0) @ self.outward.T + self.offset

    def polygon(self, pair: tuple[int, int] = (0, 1)) -> Polygon:
        from lth_bench_plugins.polygons import dual_polygon

        return dual_polygon(self.inward, self.outward, pair)

    def of(self, pair: tuple[int, int]) -> Layers:
        """The same with two of its outputs."""
        return replace(self, outward=self.outward[list(pair)], offset=self.offset[list(pair)])

    @property
    def text(self) -> str:
        return _text({name: value.tolist() for name, value in asdict(self).items()})


def from_text(text: str) -> Layers:
    return Layers(**{name: np.array(value) for name, value in json.loads(text).items()})


def _text(value: Any) -> str:
    """JSON with numbers to five digits."""
    return json.dumps(json.loads(json.dumps(value), parse_float=lambda digits: float(f"{float(digits):.5g}")))


def compared_to(polygon: Polygon, dense: Polygon) -> dict[str, float]:
    """The distances of two polygons; that in shape is absent where one has no extent."""
    from lth_bench_plugins.polygons import hausdorff, radius, shape_distance

    reach, shape = radius(dense.hull), shape_distance(polygon.hull, dense.hull)
    distances = {"distance": hausdorff(polygon.hull, dense.hull) / reach} if reach else {}
    return {**distances, **({"shape_distance": shape} if np.isfinite(shape) else {})}


def last_layers(network: nn.Module, inputs: Tensor) -> tuple[Layers, np.ndarray]:
    """The last layers of a network, and the two features of each input. Raises Unsuitable for networks of other kinds.

    Whether they compute what the network does is tried on the inputs.
    """
    import torch
    from torch import nn

    parts = [module for module in network.modules() if not list(module.children())][-3:]
    kinds = [nn.Linear, nn.ReLU, nn.Linear]
    if [type(part) for part in parts] != kinds or parts[0].in_features != 2:
        raise Unsuitable("the network does not end in an affine layer of two inputs, ReLU and an affine layer")
    seen: list[Tensor] = []
    with parts[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1))), torch.no_grad():
        outputs = network(inputs).double().cpu().numpy()
    features = seen[0].double().cpu().numpy()
    layers = Layers(*(array for part in (parts[0], parts[2]) for array in _arrays(part)))
    if not np.allclose(layers(features), outputs, atol=1e-3 * np.abs(outputs).max()):
        raise Unsuitable("the network computes something else than its last affine layer, ReLU and affine layer do")
    return layers, features


def _arrays(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    weight = layer.weight.detach().double().cpu().numpy()
    return weight, np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().cpu().numpy()


def _dense(study: Study) -> State:
    """The weights of the dense network of the same seed, which is trained if the run directory has none."""
    if study.dense is not None:
        return study.dense.ticket.final
    session = study.session()
    session.train()
    return session.snapshot().state


@hookimpl
def register_analyses(register):
    register("boundary", Boundary)
