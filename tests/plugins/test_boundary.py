"""The analysis of decision boundaries: tickets by hand, in the plane and behind it."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lth_bench import Unsuitable
from lth_bench_plugins.boundary import Boundary
from lth_bench_plugins.last_layers import Layers, from_text, last_layers
from lth_bench_plugins.polygons import dual_polygon, hausdorff, radius
from support.analyses import study_of
from support.suites import finish, pruner, write_suite


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boundary")
    pruners = pruner("dense", sparsities=[0]) + pruner("imp", label="IMP", controls=["redraw"], arguments={"rate": 0.5})
    model = '{ name = "mlp", arguments = { widths = [10] } }'
    changes = {"model": model, "datasets": ["moons"], "duration": "5ep", "sparsities": [0.5, 0.75], "seeds": [0, 1]}
    finish(write_suite(folder / "s.toml", pruners, **changes), folder / "run")
    return folder / "run"


def test_a_ticket_is_compared_with_the_dense_network_of_its_seed(directory):
    study = study_of(directory, "IMP", 1)
    (row,) = Boundary()(study)
    own, dense = (
        dual_polygon(*(state[name].double().numpy() for name in ("fc1.weight", "fc2.weight")))
        for state in (study.ticket.final, study.dense.ticket.final)
    )
    assert row["distance"] == pytest.approx(hausdorff(own.hull, dense.hull) / radius(dense.hull))
    assert row["distance"] > 0 and row["pair"] == "0–1" and row["corners"] == len(own.hull)
    network = from_text(row["network"])
    assert np.allclose(network.inward, study.ticket.final["fc1.weight"], rtol=1e-4)
    examples = np.array(json.loads(row["points"]))
    right = (network(examples[:, :2]).argmax(1) == examples[:, 2]).mean()
    assert len(examples) == 200 and right == pytest.approx(row["accuracy"], abs=0.1)


def test_a_ticket_with_the_weights_of_the_dense_network_is_at_no_distance(directory):
    study = study_of(directory, "IMP, redraw", 1)
    same = dataclasses.replace(study.ticket, final=study.dense.ticket.final)
    (row,) = Boundary()(study_of(directory, "IMP, redraw", 1, ticket=same))
    assert (row["distance"], row["area"]) == (0, 1) and row["shape_distance"] == 0


def test_dense_networks_are_compared_with_those_of_other_seeds(directory):
    first, second = (list(Boundary()(study_of(directory, "dense", seed))) for seed in (0, 1))
    assert "distance" not in first[0] and "area" not in first[0]
    assert [row["other"] for row in first[1:]] == [study_of(directory, "dense", 1).key]
    assert first[1]["shape_distance"] == pytest.approx(second[1]["shape_distance"]) and first[1]["distance"] > 0


def test_without_a_dense_experiment_the_dense_network_is_trained(directory):
    study = study_of(directory, "IMP", 0)
    (row,) = Boundary()(study)
    alone = study_of(directory, "IMP", 0)
    alone.dense = None
    assert list(Boundary()(alone)) == [row] and len(alone.sessions) == 1


def test_pairs_of_several_classes():
    assert Boundary()._pairs(3) == [(0, 1), (0, 2), (1, 2)]
    assert Boundary(classes=(2, 0))._pairs(3) == [(2, 0)]
    for classes in ((1,), (0, 3), (1, 1)):
        with pytest.raises(Unsuitable, match="two or more different ones of 0 to 2"):
            Boundary(classes=classes)._pairs(3)


def test_the_last_layers_behind_two_features_compute_what_the_network_does():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.Tanh(), nn.Linear(2, 7), nn.ReLU(), nn.Linear(7, 3))
    inputs = torch.randn(40, 1, 4, 4)
    layers, features = last_layers(network, inputs)
    assert features.shape == (40, 2) and np.abs(features).max() <= 1
    assert np.allclose(layers(features), network(inputs).detach(), atol=1e-5)
    assert np.allclose(from_text(layers.text)(features), layers(features), atol=1e-3)


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))

    def forward(self, inputs):
        return 2 * self.layers(inputs)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), "does not end in an affine layer of two inputs"),
        (nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2)), "does not end in an affine layer of two inputs"),
        (Doubled(), "computes something else"),
    ],
)
def test_other_networks_are_told(network, words):
    torch.manual_seed(0)
    inputs = torch.randn(9, next(network.parameters()).shape[1])
    with pytest.raises(Unsuitable, match=words):
        last_layers(network, inputs)


def test_polygons_of_a_pair_are_those_of_its_two_outputs():
    draws = np.random.default_rng(0)
    layers = Layers(draws.normal(size=(6, 2)), draws.normal(size=6), draws.normal(size=(4, 6)), draws.normal(size=4))
    pair = layers.of((3, 1))
    assert np.array_equal(pair.polygon().hull, layers.polygon((3, 1)).hull)
    points = draws.normal(size=(20, 2))
    assert np.allclose(pair(points), layers(points)[:, [3, 1]])


def test_the_table_has_no_column_of_what_only_the_figure_needs():
    about = {"key": "a", "dataset": "d", "model": "m", "recipe": "r", "method": "IMP", "target": 0.5, "seed": 0}
    rows = [{**about, "pair": "0–1", "distance": distance, "network": "{}", "points": "[]"} for distance in (0.5, 1.0)]
    (row,) = Boundary().table(pd.DataFrame(rows)).to_dict("records")
    assert row["distance"] == 0.75 and not {"network", "points", "pair"} & set(row)
