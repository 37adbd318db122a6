"""What layers see of calibration examples, and methods that prune by it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.conformance import small_session
from lth_bench.data.examples import Batch, Examples
from lth_bench.errors import MaskError
from lth_bench.methods.calibration import input_norms
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.woodfisher import InverseFisher
from support.networks import make_session, recipe
from support.pairs import kept, left, pair_session, pruner

IMAGES = Batch(torch.tensor([[1.0, 2.0], [2.0, 0.0]]), torch.zeros(2, dtype=torch.long))


def test_wanda_by_hand():
    # Inputs of A: (1, 2) and (2, 0), with norms √5 and 2; of B: (-3, -5) and (2, 6), with norms √13 and √61.
    session, wanda = pair_session(0.5), pruner("wanda", {})
    norms = input_norms(session, [IMAGES])
    assert norms["a.weight"].square().tolist() == [[pytest.approx(5), pytest.approx(4)]] * 2
    assert norms["b.weight"].square().tolist() == [[pytest.approx(13), pytest.approx(61)]] * 2
    scores = wanda.scores(session, [IMAGES])
    assert scores["b.weight"].tolist() == [
        [pytest.approx(5 * 13**0.5), pytest.approx(6 * 61**0.5)],
        [pytest.approx(0.5 * 13**0.5), pytest.approx(2.5 * 61**0.5)],
    ]
    # Every row loses its lower score, 3 for one although 2 scores less in the other row.
    session.prune(wanda.by_row(scores, 0.5), 0.5)
    assert left(session) == [[[0, 1], [0, 1]], [[0, 1], [0, 1]]]


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [(0.25, [[[0, 1], [1, 1]], [[1, 1], [0, 1]]]), (0.75, [[[0, 0], [0, 1]], [[0, 1], [0, 0]]])],
)
def test_rows_lose_one_weight_more_where_their_next_scores_lowest(sparsity, expected):
    session, wanda = pair_session(sparsity), pruner("wanda", {})
    by_layer = dict.fromkeys(session.weights, sparsity)
    session.prune(wanda.by_row(wanda.scores(session, [IMAGES]), sparsity), by_layer)
    assert left(session) == expected


@pytest.mark.parametrize(
    ("pattern", "kept"), [("2:4", [True, True, False, False]), ("1:2", [True, False, False, True])]
)
def test_wanda_keeps_the_best_of_every_group_under_a_pattern(pattern, kept):
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -2.0, 3.0, -4.0]])
    batch = Batch(torch.tensor([[5.0, 2.0, 1.0, 1.0]]), torch.zeros(1, dtype=torch.long))
    session, wanda = (
        small_session(lambda: nn.Sequential(layer), *batch, pattern=pattern),
        pruner("wanda", {"examples": 1}),
    )
    assert wanda.scores(session, [batch])["0.weight"].tolist() == [[5, 4, 3, 4]]
    wanda.prune(session)
    assert session.masks["0.weight"].tolist() == [kept]


def test_wanda_prunes_after_the_last_step_or_is_trained_on():
    session = make_session(sparsity=0.75)
    pruner("wanda", {"examples": 4})(session)
    assert [(event.step, event.steps) for event in session.account.ledger.events if event.steps] == [(0, 30)]
    session = make_session(sparsity=0.75)
    pruner("wanda", {"examples": 4, "retraining": "learning_rate_rewinding"})(session)
    assert sum(event.steps for event in session.account.ledger.events) == 60


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": 1},
        {"padding": 2, "stride": 2, "dilation": 2},
        {"padding": 1, "groups": 2},
        {"padding": "same", "bias": False},
        {"padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_norms_of_convolutions_are_those_of_unfolded_inputs(arguments):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, **arguments)
    network = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    images = torch.randn(5, 4, 7, 7)
    data = Examples(images, torch.zeros(5, dtype=torch.long))
    session = Session(Setup(lambda seed: network, data, data, recipe(duration="1it", batch_size=5), 0.5, 0))
    norms = input_norms(session, [Batch(images[:2], data.labels[:2]), Batch(images[2:], data.labels[2:])])["0.weight"]
    ones = nn.Conv2d(4, 6, 3, **{**arguments, "bias": False})
    for place in torch.nonzero(torch.ones_like(conv.weight))[::7].tolist():  # a pass that sees one weight alone
        ones.weight.data.zero_()
        ones.weight.data[tuple(place)] = 1
        seen = ones(images)[:, place[0]].detach()
        assert norms[tuple(place)] == pytest.approx(float(seen.norm()), rel=1e-5)


def test_norms_leave_the_network_and_its_gradients_alone():
    session = make_session(sparsity=0.5)
    before = {name: value.clone() for name, value in session.model.state_dict().items()}
    input_norms(session, [session.sample(4)])
    assert all(torch.equal(value, before[name]) for name, value in session.model.state_dict().items())
    assert all(weight.grad is None for weight in session.model.parameters())
    assert not any(layer._forward_pre_hooks for layer in session.model.modules())


def slopes(rows):
    """A curvature from given gradients of all weights, with a damping of 1."""
    return InverseFisher(torch.tensor(rows, dtype=torch.float64), [8], 1.0)


def test_woodfisher_by_hand():
    # One gradient g = (2, 0, …, 0, 1): F = 1 + gg', so F⁻¹ = 1 - gg'/6: 1/3 for the first weight, 5/6 for the last.
    session, woodfisher = pair_session(0.25), pruner("woodfisher", {})
    curvature = slopes([[2.0, 0, 0, 0, 0, 0, 0, 1]])
    assert curvature.diagonal.tolist() == pytest.approx([1 / 3, 1, 1, 1, 1, 1, 1, 5 / 6])
    assert curvature.times(torch.tensor([3.0, 1, 0, 0, 0, 0, 0, 0]).double()).tolist() == pytest.approx(
        [1, 1, 0, 0, 0, 0, 0, -1]
    )
    # Weights 1, -2, 3, -4, 5, -6, 0.5, 2.5 cost w² / 2[F⁻¹]: 1.5, 2, 4.5, 8, 12.5, 18, 0.125 and 3.75.
    costs = woodfisher.scores(session, curvature)
    assert costs["a.weight"].tolist() == [[pytest.approx(1.5), 2], [4.5, 8]]
    assert costs["b.weight"].tolist() == [[12.5, 18], [0.125, pytest.approx(3.75)]]
    # 1 and 0.5 go; for 1, F⁻¹ times e/(1/3) is 1 for itself and -1 for the last weight, which grows to 3.5.
    woodfisher.prune(session, curvature, 0.25)
    assert session.weights["a.weight"].tolist() == [[0, -2], [3, -4]]
    assert session.weights["b.weight"].tolist() == [[5, -6], [0, pytest.approx(3.5)]]


def test_a_damping_that_does_not_suffice_grows():
    rows = torch.tensor([[1e20, 1.0]] * 2, dtype=torch.float64)
    assert InverseFisher(rows, [2], 1e-5).damping > 1e-5
    assert InverseFisher(rows.new_ones(2, 2), [1, 1], 1e-5).damping == 1e-5


def test_woodfisher_prunes_in_rounds_and_leaves_the_rest_as_it_is_if_asked_to():
    session = make_session(sparsity=0.75)
    pruner("woodfisher", {"gradients": 4, "rounds": 3})(session)
    assert kept(session) == 78
    session = make_session(sparsity=0.75)
    session.train()
    before = {name: weight.detach().clone() for name, weight in session.weights.items()}
    plain = pruner("woodfisher", {"gradients": 4, "update": False, "blocks": 10})
    plain.prune(session, plain.curvature(session, session.sample(4)), 0.75)
    for name, weight in session.weights.items():
        assert torch.equal(weight, before[name] * session.masks[name])


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"c": torch.zeros(2, 2)}, "'c', which is not a prunable layer"),
        ({"a.weight": torch.zeros(4)}, r"shape \(4,\), not \(2, 2\)"),
        ({"a.weight": torch.full((2, 2), torch.nan)}, "'a.weight' are not all finite"),
    ],
)
def test_new_weights_that_do_not_fit_are_refused(weights, words):
    session = pair_session(0.5)
    before = session.model.state_dict()["a.weight"].clone()
    with pytest.raises(MaskError, match=words):
        session.adopt(session.masks, weights=weights)
    assert torch.equal(session.model.state_dict()["a.weight"], before)
