"""Networks of two layers of 2×2 weights, on which a pruner is followed by hand."""

from __future__ import annotations

import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.pruning import masks
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

PLUGINS = load_plugins()


def pruner(name, arguments):
    return instantiate(PLUGINS.pruners, name, arguments)


def kept(session):
    return sum(masks.kept(session.masks).values())


class Pair(nn.Module):
    """y = B·A·x without biases: weights 1, -2, 3, -4 and 5, -6, 0.5, 2.5."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.a.weight.data = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
        self.b.weight.data = torch.tensor([[5.0, -6.0], [0.5, 2.5]])

    def forward(self, x):
        return self.b(self.a(x))


def pair_session(sparsity=0.5, steps=1, rate=1e-12, seed=0):
    """A Session on one example x = (1, 1) of class 0 whose training hardly moves the weights."""
    data = Examples(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64))
    recipe = Recipe(Duration(f"{steps}it"), 1, rate, measure_every=Duration(f"{steps}it"))
    return Session(Setup(lambda seed: Pair(), data, data, recipe, sparsity, seed))


def left(session):
    return [session.masks[layer].int().tolist() for layer in ("a.weight", "b.weight")]
