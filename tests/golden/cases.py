"""The cases of tests/golden: what official code computed, and Sessions on the networks it computed it with."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.training.session import Session, Setup

FOLDER = Path(os.environ.get("LTH_BENCH_GOLDEN", Path(__file__).parent))
RECIPE = Recipe(Duration("1it"), 1, 0.1)


@dataclass(frozen=True)
class Case:
    """One variant of one golden file."""

    path: Path
    variant: str

    @property
    def family(self) -> str:
        return self.path.stem.split("__")[0]

    @property
    def meta(self):
        return _meta(self.path)

    @property
    def result(self):
        return self.meta["results"][self.variant]

    def arrays(self, prefix: str) -> dict[str, torch.Tensor]:
        """The arrays below a prefix, by what follows it."""
        stored = _arrays(self.path)
        return {key[len(prefix) :]: torch.from_numpy(stored[key]) for key in stored if key.startswith(prefix)}

    def own(self, part: str = "") -> dict[str, torch.Tensor]:
        return self.arrays(f"res/{self.variant}/{part}")

    def masks(self):
        """The masks of this variant, by name: dicts of boolean tensors by layer, weights only."""
        found = {key.split("/")[0] for key in self.own() if key.startswith("mask")}
        return {name: {k: m.bool() for k, m in self.own(f"{name}/").items() if k.endswith(".weight")} for name in found}


@cache
def _meta(path):
    return json.loads(path.read_text())


@cache
def _arrays(path):
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files if key != "meta_json"}


def cases():
    """Every variant of every case; those of one row of `res/` are one test each."""
    return [Case(path, variant) for path in sorted(FOLDER.glob("*.json")) for variant in _meta(path)["results"]]


class Graph(nn.Module):
    """The network that a case describes, or just its weights where it describes none."""

    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes
        for node in nodes:
            if (made := _module(node)) is not None:
                self.add_module(node["id"], made)

    def forward(self, x):
        values = {"x": x}
        for node in self.nodes:
            inputs = [values[name] for name in node["in"]]
            values[node["id"]] = _apply(self, node, inputs)
        return values[self.nodes[-1]["id"]]


def _module(node):
    if node["op"] == "conv2d":
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups", "bias")
        return nn.Conv2d(**{name: node[name] for name in names})
    if node["op"] == "linear":
        return nn.Linear(node["in_features"], node["out_features"], node["bias"])
    if node["op"] == "batchnorm2d":
        return nn.BatchNorm2d(node["num_features"], node["eps"], node["momentum"])
    return None


def _apply(graph, node, inputs):
    if node["op"] == "relu":
        return inputs[0].relu()
    if node["op"] == "add":
        return inputs[0] + inputs[1]
    if node["op"] == "global_avg_pool":
        return inputs[0].mean((2, 3))
    return getattr(graph, node["id"])(inputs[0])


class Weights(nn.Module):
    """Layers that hold given weights under given (dotted) names, and compute nothing."""

    def __init__(self, weights):
        super().__init__()
        for name, weight in weights.items():
            *path, leaf = name.removesuffix(".weight").split(".")
            parent = self
            for part in path:
                if not hasattr(parent, part):
                    parent.add_module(part, nn.Module())
                parent = getattr(parent, part)
            out, inner, *kernel = weight.shape
            layer = nn.Conv2d(inner, out, tuple(kernel), bias=False) if kernel else nn.Linear(inner, out, bias=False)
            layer.weight.data = weight.clone()
            parent.add_module(leaf, layer)


def network_session(case: Case, dtype: torch.dtype) -> Session:
    """A Session on the case's network with the case's weights, checked against the case's logits."""
    graph = Graph(case.meta["network"]["nodes"])
    graph.load_state_dict(case.arrays("param/") | case.arrays("buffer/"), strict=False)
    graph = graph.to(dtype)
    inputs, labels = (case.arrays(name).get("", torch.zeros(1, 1)) for name in ("x", "y"))
    data = Examples(inputs.to(dtype), labels.long())
    session = Session(Setup(lambda seed: graph, data, data, RECIPE, 0.5, 0))
    for mode, logits in case.arrays("check/logits_f64.").items():
        with torch.no_grad(), session.scoring(training=mode == "train"):
            tolerance = 1e-12 if dtype == torch.float64 else 1e-4
            assert torch.allclose(graph(data.images).double(), logits, atol=tolerance, rtol=tolerance)
    return session


def weights_session(weights) -> Session:
    data = Examples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    return Session(Setup(lambda seed: Weights(weights), data, data, RECIPE, 0.5, 0))


def share_pruned(mask):
    kept, size = (sum(int(f(m)) for m in mask.values()) for f in (torch.count_nonzero, torch.numel))
    return 1 - kept / size


def layer_sparsities(mask):
    return {name: 1 - int(m.count_nonzero()) / m.numel() for name, m in mask.items()}


def assert_masks_equal(session, expected):
    assert session.masks.keys() == expected.keys()
    for name, mask in expected.items():
        assert torch.equal(session.masks[name], mask), name
