"""Magnitude pruning to a pattern; and other methods, which hold one too."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from lth_bench.conformance import small_session
from lth_bench.errors import Unsuitable
from lth_bench.pruning import masks, patterns
from support.networks import make_session
from support.pairs import pruner


def layered(*sizes, pattern):
    layers = [nn.Linear(*pair, bias=False) for pair in pairwise(sizes)]
    network = nn.Sequential(*layers)
    return small_session(lambda: network, torch.ones(1, sizes[0]), torch.zeros(1, dtype=torch.long), pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("2:4", [False, True, False, True, True, False, True, False]),
        ("1:2", [False, True, False, True, True, False, True, False]),
        ("1:4", [False, True, False, False, False, False, True, False]),
        ("2:8", [False, True, False, False, False, False, True, False]),
    ],
)
def test_nm_magnitude_by_hand(pattern, kept):
    session = layered(8, 1, pattern=pattern)
    session.weights["0.weight"].data = torch.tensor([[1.0, -4.0, 2.0, 3.0, 0.6, -0.5, 7.0, 0.0]])
    pruner("nm_magnitude", {"retraining": "none"})(session)
    assert session.masks["0.weight"].tolist() == [kept]


def test_training_is_repeated_under_the_masks_from_the_trained_weights():
    session = make_session(pattern="2:4")
    pruner("nm_magnitude", {})(session)
    steps = [(event.step, event.steps) for event in session.account.ledger.events if event.steps]
    assert steps == [(0, 30), (0, 30)]
    assert patterns.breach(session.masks, session.pattern) is None
    assert sum(masks.kept(session.masks).values()) == 312 / 2


def test_the_multiples_of_the_official_code_leave_other_layers_dense():
    session = layered(16, 8, 8, 4, pattern="2:4")
    pruner("nm_magnitude", {"eligible": "multiples", "retraining": "none"})(session)
    assert masks.kept(session.masks) == {"0.weight": 64, "1.weight": 64, "2.weight": 32}
    with pytest.raises(Unsuitable, match=r"no layer that can hold 2:4 has outputs in multiples of 8.*\"divisible\""):
        pruner("nm_magnitude", {"eligible": "multiples"})(layered(8, 8, pattern="2:4"))


def test_without_a_pattern_nm_magnitude_says_how_to_ask_for_one():
    session = make_session()
    with pytest.raises(Unsuitable, match='it prunes to a pattern; list one, such as "2:4", among the sparsities'):
        pruner("nm_magnitude", {})(session)
    assert session.step == 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("imp", {"scope": "layer", "output_rate": 0.1}),
        ("gmp", {"interval": "5it"}),
        ("lamp", {}),
        ("magnitude", {"scope": "layer"}),
        ("magnitude", {"prune_at": "initialisation"}),
        ("random", {}),
        ("static", {}),
        ("snip", {"examples": 10}),
        ("iterative_snip", {"examples": 10}),
        ("force", {"examples": 10}),
        ("synflow", {}),
        ("woodfisher", {"gradients": 8, "rounds": 2}),
        ("wanda", {"examples": 8}),
    ],
)
@pytest.mark.parametrize("pattern", ["2:4", "1:4"])
def test_a_method_that_prunes_by_scores_holds_a_pattern_at_no_cost(name, arguments, pattern):
    session = make_session(pattern=pattern)
    pruner(name, arguments)(session)
    session.finish()
    assert patterns.breach(session.masks, session.pattern) is None
    assert sum(masks.kept(session.masks).values()) == 312 * session.pattern.kept / 4
