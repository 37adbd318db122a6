from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from lth_bench.conformance import contract
from lth_bench.data.examples import Examples
from lth_bench.errors import Unsuitable
from lth_bench.experiments.plugins import load_plugins
from lth_bench.pruning import masks
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.lamp import layer_adaptive
from support.networks import RECIPES, make_session
from support.pairs import Pair, kept, left, pair_session, pruner

PLUGINS = load_plugins()
BUNDLED = [name for name in PLUGINS.pruners if PLUGINS.pruners.providers[name].distribution == "lth-bench"]
ROUNDS = [
    {"rate": 0.5},
    {"rate": 0.5, "rewind_to": "3it"},
    {"rate": 0.5, "rewind_to": "1ep", "retraining": "learning_rate_rewinding"},
    {"rate": 0.5, "retraining": "fine_tuning"},
    {"rate": 0.5, "scope": "layer", "output_rate": 0.25},
]

test_contract = contract(*BUNDLED)


def test_every_bundled_plugin_can_be_loaded():
    assert PLUGINS.broken == []


@pytest.mark.parametrize("arguments", ROUNDS, ids=str)
def test_the_masks_of_imp_are_nested_over_its_rounds(arguments, monkeypatch):
    session, seen = make_session(sparsity=0.9), []
    adopt = session._set_masks
    monkeypatch.setattr(session, "_set_masks", lambda masks, **rest: (seen.append(masks), adopt(masks, **rest)))
    pruner("imp", arguments)(session)
    assert len(seen) >= 4
    for earlier, later in pairwise(seen):
        assert all(not (later[layer] & ~earlier[layer]).any() for layer in earlier)


def test_dense_trains_once_and_prunes_nothing():
    session = make_session(sparsity=0.0)
    pruner("dense", {})(session)
    assert kept(session) == 312
    assert [(event.step, event.steps) for event in session.account.ledger.events] == [(0, 30)]


@pytest.mark.parametrize(
    ("retraining", "steps"), [("weight_rewinding", 27), ("learning_rate_rewinding", 27), ("fine_tuning", 27)]
)
def test_every_way_of_retraining_takes_as_long(retraining, steps):
    session = make_session(sparsity=0.75)
    pruner("imp", {"rate": 0.5, "rewind_to": "3it", "retraining": retraining})(session)
    assert sum(event.steps for event in session.account.ledger.events) == 30 + 2 * steps


@pytest.mark.parametrize("name", ["imp", "lamp", "magnitude", "l1_filter"])
def test_fine_tuning_at_a_learning_rate_of_zero_is_refused_before_training(name):
    arguments = {"retraining": "fine_tuning"} | ({"layers": "all"} if name == "l1_filter" else {})
    falling = make_session(replace(RECIPES["sgd"], schedule="cosine"))
    with pytest.raises(Unsuitable, match=r'of a cosine schedule is zero; retrain by "learning_rate_rewinding" or '):
        pruner(name, arguments)(falling)
    assert falling.account.ledger.events == []
    pruner(name, arguments | {"retraining": "learning_rate_rewinding"})(falling)


def test_a_rewind_beyond_the_end_fails_with_a_sentence():
    with pytest.raises(RuntimeError, match="cannot train until step 30: the clock stands at 40"):
        pruner("imp", {"rewind_to": "40it"})(make_session())


# ---- by hand: two layers of 2×2 weights; all numbers are in the tests ------------------------------------------------


def test_magnitude_by_hand():
    session = pair_session(0.5)
    pruner("magnitude", {"prune_at": "initialisation"})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    session = pair_session(0.5)
    pruner("magnitude", {"scope": "layer"})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    session = pair_session(0.75)
    pruner("magnitude", {"scope": "layer"})(session)
    assert left(session) == [[[0, 0], [0, 1]], [[0, 1], [0, 0]]]
    session = pair_session(0.75)
    pruner("magnitude", {})(session)
    assert left(session) == [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]


def test_imp_by_hand():
    # One step of SGD at rate 1 moves the weights; the next round ranks what it left. Logits are B·A·(1, 1):
    # A·x = (-1, -1), y = (1, -3); softmax gives p = (0.98201, 0.01799), dL/dy = (-0.01799, 0.01799).
    # dL/dB = dL/dy · (-1, -1)ᵀ: rows (0.01799, 0.01799) and (-0.01799, -0.01799).
    # dL/dA = Bᵀ·dL/dy · (1, 1): rows -0.01799·5 + 0.01799·0.5 = -0.08094 and 0.01799·6 + 0.01799·2.5 = 0.15288.
    # So A becomes (1.08094, -1.91906, 2.84712, -4.15288), B (4.98201, -6.01799, 0.51799, 2.51799).
    session = pair_session(0.5, rate=1.0)
    session.train()
    expected = [[[1.08094, -1.91906], [2.84712, -4.15288]], [[4.98201, -6.01799], [0.51799, 2.51799]]]
    for layer, values in zip(("a.weight", "b.weight"), expected, strict=True):
        assert torch.allclose(session.weights[layer], torch.tensor(values), atol=1e-4)
    # Half of the weights go in one round: 0.518, 1.081, 1.919 and 2.518 are the smallest.
    session = pair_session(0.5, rate=1.0)
    pruner("imp", {"rate": 0.5})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    # What is left was reset and trained again: A·x = (0, -1), y = (6, 0), dL/dy = (-0.002473, 0.002473);
    # dL/dB = dL/dy · (0, -1)ᵀ moves only the second column: -6 - 0.002473.
    assert session.weights["b.weight"][0].tolist() == pytest.approx([5.0, -6.002473], abs=1e-5)
    assert session.weights["b.weight"][1].tolist() == [0.0, 0.0]
    # The output layer at another rate: one round leaves half of A's four weights and three quarters of B's.
    session = pair_session(0.375)
    pruner("imp", {"rate": 0.5, "scope": "layer", "output_rate": 0.25})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 1]]]


def test_lamp_by_hand():
    # Squares of A: 1, 4, 9, 16, of B: 25, 36, 0.25, 6.25; each is divided by the sum of those that are not smaller.
    session = pair_session(0.375)
    lamp = pruner("lamp", {})
    scores = lamp.scores(session)
    assert scores["a.weight"].tolist() == [[1 / 30, 4 / 29], [9 / 25, 1]]
    assert scores["b.weight"].tolist() == [[25 / 61, 1], [0.25 / 67.5, 6.25 / 67.25]]
    # Five are kept, -2 among them rather than 2.5; then only the largest weight of each layer, -4 rather than 5.
    lamp(session)
    assert left(session) == [[[0, 1], [1, 1]], [[1, 1], [0, 0]]]
    for rate in (0.2, 0.9):
        session = pair_session(0.75)
        pruner("lamp", {"rate": rate})(session)
        assert left(session) == [[[0, 0], [0, 1]], [[0, 1], [0, 0]]]


def test_lamp_scores_equal_weights_by_their_place_and_zeros_by_zero():
    assert layer_adaptive(torch.tensor([[1.0, -1.0], [0.0, 1.0]])).tolist() == [[1, 1 / 2], [0, 1 / 3]]
    assert layer_adaptive(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


def test_each_round_of_lamp_trains_four_fifths_of_the_recipe():
    session = make_session(sparsity=0.75)  # 0.8 ** 6 is above 0.25, 0.8 ** 7 below
    pruner("lamp", {})(session)
    assert [(event.step, event.steps) for event in session.account.ledger.events] == [(0, 30), *7 * [(6, 24)]]


def test_snip_by_hand():
    # Gradients as in test_imp_by_hand; |g·w| is, times 0.01799: for A (4.5·1, 4.5·2, 8.5·3, 8.5·4), for B
    # (5, 6, 0.5, 2.5). The sum of all is 4.5·3 + 8.5·7 + 14 = 87.
    session = pair_session(0.5)
    snip = pruner("snip", {"examples": 1})
    scores = snip.scores(session, [session.sample(1)])
    assert scores["a.weight"].flatten().tolist() == pytest.approx([4.5 / 87, 9 / 87, 25.5 / 87, 34 / 87], rel=1e-5)
    assert scores["b.weight"].flatten().tolist() == pytest.approx([5 / 87, 6 / 87, 0.5 / 87, 2.5 / 87], rel=1e-5)
    snip(session)
    assert left(session) == [[[0, 1], [1, 1]], [[0, 1], [0, 0]]]


def test_random_by_hand():
    # 8 weights at 0.5: two of four in each layer (uniform); ERK gives the same to layers of the same shape; at rates
    # 0.5 and 0.25 for the output, 0.5 keeps 0.5^x + 0.75^x = 1, x = 1.507: 1.41 and 2.59, that is 1 and 3.
    for arguments, counts in (
        ({}, [2, 2]),
        ({"distribution": "erk"}, [2, 2]),
        ({"distribution": "layerwise", "rate": 0.5, "output_rate": 0.25}, [1, 3]),
    ):
        session = pair_session(0.5)
        pruner("random", arguments)(session)
        assert list(masks.kept(session.masks).values()) == counts
    chosen = set()
    for seed in range(40):
        data = Examples(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64))
        session = Session(Setup(lambda seed: Pair(), data, data, pair_session(0.5).recipe, 0.5, seed))
        pruner("random", {})(session)
        chosen.add(str(left(session)[0]))
    assert len(chosen) == 6, "all six ways to keep two of four weights turn up"
