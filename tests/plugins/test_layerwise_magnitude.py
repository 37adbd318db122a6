"""Magnitude pruning of trained networks, layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.conformance import small_session
from support.networks import make_session
from support.pairs import kept, left, pair_session, pruner


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [
        (0.25, [[[0, 1], [1, 1]], [[1, 1], [0, 1]]]),
        (0.5, [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]),
        (0.75, [[[0, 0], [0, 1]], [[0, 1], [0, 0]]]),  # 4 stays, although the other layer's 5 goes
    ],
)
def test_layerwise_magnitude_by_hand(sparsity, expected):
    session = pair_session(sparsity)
    pruner("layerwise_magnitude", {})(session)
    assert left(session) == expected


@pytest.mark.parametrize(("distribution", "counts"), [("uniform", [6, 3]), ("erk", [5, 4])])
def test_layers_keep_weights_by_their_distribution(distribution, counts):
    # ERK: densities as 6/8 is to 4/4, at most 1, leave the second layer dense and 5 weights to the first.
    network = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False))
    network[0].weight.data = torch.tensor([[1.0, -2.0, 3.0, -4.0], [8.0, 7.0, -6.0, 5.0]])
    session = small_session(lambda: network, torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), sparsity=0.25)
    pruner("layerwise_magnitude", {"distribution": distribution})(session)
    assert [int(mask.sum()) for mask in session.masks.values()] == counts
    assert session.masks["0.weight"].flatten().tolist() == [rank > 8 - counts[0] for rank in (1, 2, 3, 4, 8, 7, 6, 5)]


@pytest.mark.parametrize(("retraining", "steps"), [("none", 30), ("fine_tuning", 60)])
def test_training_ends_with_pruning_or_goes_on(retraining, steps):
    session = make_session(sparsity=0.75)
    pruner("layerwise_magnitude", {"retraining": retraining})(session)
    assert sum(event.steps for event in session.account.ledger.events) == steps
    assert kept(session) == 78
