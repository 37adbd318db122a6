"""Networks that a run could not use are refused beforehand, each with a sentence; what only looks odd passes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from lth_bench.data.examples import Batch
from lth_bench.models.layer_roles import prunable
from lth_bench.pruning.rehearsal import Rehearsal
from lth_bench.randomness import seeded

BATCH = Batch(torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2]))


def plain(*between):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), *between, nn.ReLU(), nn.Linear(8, 3))


def fault(network, classes=3):
    def make(seed):
        with seeded(seed):
            return network()

    return Rehearsal(make, BATCH, classes).fault()


class Permuted(nn.Module):
    """An order of pixels that is drawn, but no part of the state."""

    def __init__(self, persistent=None):
        super().__init__()
        self.layers = plain()
        order = torch.randperm(16)
        if persistent is None:
            self.order = order
        else:
            self.register_buffer("order", order, persistent=persistent)

    def forward(self, x):
        return self.layers(x.flatten(1)[:, self.order])


class Auxiliary(nn.Sequential):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class Named(nn.Sequential):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Logistic(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1))


def tied():
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)
    )
    network[4].weight = network[2].weight
    return network


def twice():
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), layer, nn.ReLU(), layer, nn.Linear(8, 3))


def normed(norm, network=plain):
    made = network()
    norm(made[1])
    return made


def drawn(draw):
    """Initial weights from another source than torch's generator."""
    network = plain()
    network[1].weight.data = torch.tensor(draw((8, 16)), dtype=torch.float32)
    return network


def pythons(shape):
    return [[random.gauss(0, 0.1) for _ in range(shape[1])] for _ in range(shape[0])]


REFUSED = {
    "lazy": (
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        "no weights before its first pass (1.weight, 1.bias)",
    ),
    "weight norm": (lambda: normed(nn.utils.parametrizations.weight_norm), "computes the weights of 1 layers (1) from"),
    "orthogonal": (lambda: normed(nn.utils.parametrizations.orthogonal), "computes the weights of 1 layers (1) from"),
    "old spectral norm": (lambda: normed(nn.utils.spectral_norm), "computes the weights of 1 layers (1) from"),
    "tied weights": (tied, "one weight in several places (2.weight and 4.weight)"),
    "a module twice": (twice, "one weight in several places (2.weight and 4.weight)"),
    "a generator of its own": (
        lambda: drawn(np.random.default_rng().standard_normal),
        "starts from other values when it is made again from the same seed (1.weight)",
    ),
    "state outside": (Permuted, "something random is not in its state dict; register it as a buffer"),
    "a buffer that is not kept": (lambda: Permuted(persistent=False), "something random is not in its state dict"),
    "outputs beside the logits": (lambda: Auxiliary(*plain()), "gives a tuple, wanted one tensor of logits"),
    "a dict": (lambda: Named(*plain()), "gives a dict, wanted one tensor of logits"),
    "one image": (lambda: plain(nn.BatchNorm1d(8, track_running_stats=False)), "(one image in evaluation mode, with"),
    "another size": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), "cannot take inputs of shape (1, 4, 4)"),
    "other classes": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), "shape (4,), not one for 3 classes"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(("network", "words"), REFUSED.values(), ids=REFUSED)
def test_a_network_that_a_run_cannot_use_is_refused_with_a_sentence(network, words):
    assert words in str(fault(network))


FINE = {
    "plain": plain,
    "batch norm": lambda: plain(nn.BatchNorm1d(8)),
    "dropout": lambda: plain(nn.Dropout(0.5)),
    "the layer is the network": lambda: Logistic(16, 3),
    "a random buffer": lambda: Permuted(persistent=True),
    "drawn by NumPy": lambda: drawn(lambda shape: np.random.randn(*shape)),
    "drawn by Python": lambda: drawn(pythons),
}


@pytest.mark.parametrize("network", FINE.values(), ids=FINE)
def test_an_odd_but_sound_network_passes(network):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert fault(network) is None
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_networks_of_two_seeds_differ_whatever_draws_them():
    for draw in (lambda shape: np.random.randn(*shape), pythons):
        weights = []
        for seed in (1, 2, 1):
            with seeded(seed):
                weights.append(drawn(draw)[1].weight)
        assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])


def test_a_layer_that_is_the_network_has_a_name():
    assert list(prunable(Logistic(16, 3))) == ["weight"]
