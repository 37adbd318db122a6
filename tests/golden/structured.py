"""Golden checks of Early-Bird: masks of channels, the distances between them, and when they have settled."""

from __future__ import annotations

import pytest
import torch

from golden.cases import RECIPE, Case, Graph
from lth_bench.data.examples import Examples
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench.methods.structured import scales
from lth_bench.pruning.channels import remaining, structure, thin
from lth_bench.pruning.masks import kept
from lth_bench.training.session import Session, Setup


def check_early_bird(case: Case):
    early_bird = instantiate(load_plugins().pruners, "early_bird", {"compared": "newest"})
    official = case.own("mask/all")[""].bool()
    distances, emerged = (case.own(name)[""].tolist() for name in ("dists", "emerged"))
    for time in range(len(official)):
        masks = list(official[: time + 1])
        found = early_bird.distances(masks)
        assert (found if len(found) == 4 else [1.0] * 4) == pytest.approx(distances[time], abs=1e-12)
        assert early_bird.settled(masks) == emerged[time]
        check_mask(case, early_bird, time, official[time])


def check_mask(case, early_bird, time, official):
    """The same channels stay, but that the official code may empty a layer: there, the best one stays in ours."""
    session = scaled_session(case, time)
    assert [norm_name(session, layer) for layer in scales(session)] == case.meta["bn_order"]
    session.sparsity = sparsity_without(session, int((~official).sum()))
    mask = early_bird.mask(session)
    parts = official.split([len(scale) for scale in scales(session).values()])
    emptied = sum(not part.any() for part in parts)
    assert int((mask != official).sum()) == 2 * emptied
    assert mask.sum() == official.sum()


def sparsity_without(session, count):
    """The sparsity that the removal of so many channels leads to."""
    whole = structure(session.model, session.weights, session.input_shape)
    left = kept(thin(whole, session.masks, remaining(scales(session), count, {})))
    return 1 - sum(left.values()) / sum(kept(session.masks).values())


def scaled_session(case, time):
    """A Session on the case's network with its scales at one time."""
    graph = Graph(case.meta["network"]["nodes"])
    for norm, gamma in case.arrays(f"gamma/{time}/").items():
        graph.get_submodule(norm).weight.data = gamma.clone()
    data = Examples(torch.zeros(1, *case.meta["network"]["input_shape"]), torch.zeros(1, dtype=torch.int64))
    return Session(Setup(lambda seed: graph, data, data, RECIPE, 0.5, 0))


def norm_name(session, layer):
    return next(name for name, module in session.model.named_modules() if module is session.norms[layer])


CHECKS = {"earlybird": check_early_bird}

NOT_COMPARABLE: dict[tuple[str, str], str] = {}
