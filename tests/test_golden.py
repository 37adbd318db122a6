"""Scores and masks against those that the methods' official code computed, see tests/golden/README.md.

LTH_BENCH_GOLDEN=DIR runs every case found in another folder of the same format.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lth_bench.allocation import erk_densities
from lth_bench.data import Batch, Examples
from lth_bench.durations import Duration
from lth_bench.plugins import load_plugins
from lth_bench.recipe import Recipe
from lth_bench.scores import magnitude
from lth_bench.session import Session, Setup
from lth_bench.suite import instantiate

FOLDER = Path(os.environ.get("LTH_BENCH_GOLDEN", Path(__file__).parent / "golden"))
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


def check_snip(case: Case):
    dtype = torch.float64 if ".f64" in case.variant else torch.float32
    session = network_session(case, dtype)
    snip = instantiate(load_plugins().pruners, "snip", {"batch_statistics": case.result.get("bn_mode") == "train"})
    whole = session._stream.data.batch(slice(None))
    parts = sorted(case.own("batch_index_").items()) or [("", slice(None))]
    batches = [Batch(whole.inputs[index], whole.labels[index]) for _, index in parts]
    scores = snip.scores(session, batches)
    # The official code may score biases as well; ours sum to 1 over the weights.
    official = {name: case.own("score/")[name].to(dtype) for name in scores}
    total = sum(score.sum() for score in official.values())
    for name, score in scores.items():
        expected = official[name] / total
        if dtype == torch.float64:
            torch.testing.assert_close(score, expected, rtol=1e-9, atol=1e-15)
        else:
            assert (score - expected).abs().max() <= 1e-5 * max(float(s.max()) for s in scores.values())
    for mask in case.masks().values():
        chosen = network_session(case, dtype)
        chosen.prune(scores, share_pruned(mask))
        assert_masks_equal(chosen, mask)


def check_magnitude(case: Case):
    weights = case.own("w/") or {name: w for name, w in case.arrays("param/").items() if w.ndim > 1}
    for name, mask in case.masks().items():
        session = weights_session(weights)
        per_layer = "local" in case.variant or "local" in name
        session.prune(magnitude(session), layer_sparsities(mask) if per_layer else share_pruned(mask))
        assert_masks_equal(session, mask)


def check_magnitude_jax(case: Case):
    if "saliency" in case.variant or "norm1" in case.variant:
        pytest.skip("a criterion that no plugin here offers")
    (mask,) = case.masks().values()
    session = weights_session(case.arrays("w/"))
    session.prune(magnitude(session), share_pruned(mask) if "global" in case.variant else layer_sparsities(mask))
    assert_masks_equal(session, mask)


def check_imp(case: Case):
    rounds = [
        (case.own(f"w_trained_{i}/"), {k: m.bool() for k, m in case.own(f"mask_{i}/").items()}) for i in (1, 2, 3)
    ]
    session = weights_session(rounds[0][0])
    for trained, mask in rounds:
        for name, weight in session.weights.items():
            weight.data.copy_(trained[name])
        ignored = case.result.get("pruning_layers_to_ignore")
        session.prune(magnitude(session), layer_sparsities(mask) if ignored else share_pruned(mask))
        assert_masks_equal(session, mask)


def check_erk(case: Case):
    supported = re.fullmatch(r"(itop|jaxpruner|rigl)\.(\w+)\.(erdos_renyi_kernel\.)?s(\d+)(\.pow1\.0)?", case.variant)
    if not supported:
        pytest.skip("a distribution that no plugin here offers")
    known = case.meta.get("shapes") or case.meta["shapes_torch"]
    shapes = {name: tuple(shape) for name, shape in known[supported[2]].items()}
    ours = erk_densities(shapes, int(supported[4]) / 100)
    sparsity = case.own("layer_sparsity")
    density = 1 - sparsity[""] if sparsity else case.own("layer_density")[""]
    order = case.result.get("layer_order", list(shapes))
    # Other codes than ITOP's round each layer's count down while they solve for the scale.
    tolerance = 1e-9 if supported[1] == "itop" else 1e-2
    assert [ours[name] for name in order] == pytest.approx(density.tolist(), rel=tolerance)


CHECKS = {
    "snip": check_snip,
    "snip_original": check_snip,
    "magnitude": check_magnitude,
    "magnitude_jax": check_magnitude_jax,
    "imp": check_imp,
    "erk_torch": check_erk,
    "erk_jax": check_erk,
    "erk_tf": check_erk,
}


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.path.stem}-{case.variant}")
def test_the_official_code_agrees(case):
    if case.family not in CHECKS:
        pytest.skip(f"no plugin here for {case.family}")
    CHECKS[case.family](case)


def test_there_are_golden_cases():
    assert {case.family for case in cases()} >= {"snip", "magnitude"}
