"""Masks that harden while they are trained."""

from __future__ import annotations

import math

import pytest
import torch

from lth_bench.errors import SessionError
from lth_bench_plugins.parametrisations.selection import Selection
from lth_bench_plugins.parametrisations.soft_masked import SoftMasked
from support.networks import RECIPES, make_session, recipe
from support.pairs import left, pair_session, pruner


def soft_mask(values, start, temperature):
    best = Selection(lambda: {"a": torch.tensor([3.0, 2.0, 1.0])}, 1 / 3)
    made = SoftMasked("a", torch.zeros(3), best, start, lambda: temperature)
    made.s.data.copy_(torch.tensor(values))
    return made


def test_a_soft_mask_by_hand():
    # At temperature 2 the sigmoids are 3/4, 1/4 and 1/2, with slopes 3/16, 3/16 and 1/4; that of the start is 1/2.
    made = soft_mask([math.log(3) / 2, -math.log(3) / 2, 0.0], 0.0, 2.0)
    assert made.soft_mask().tolist() == pytest.approx([1.5, 0.5, 1.0])
    weight = torch.tensor([2.0, -4.0, 3.0], requires_grad=True)
    assert made(weight).tolist() == pytest.approx([3.0, -2.0, 3.0])
    made(weight).sum().backward()
    assert weight.grad.tolist() == pytest.approx([1.5, 0.5, 1.0])
    slopes = [3 / 16 * 2 / 0.5, 3 / 16 * 2 / 0.5, 1 / 4 * 2 / 0.5]
    assert made.s.grad.tolist() == pytest.approx([2 * slopes[0], -4 * slopes[1], 3 * slopes[2]])
    assert made.eval()(weight).tolist() == pytest.approx([3.0, -2.0, 0.0])


def test_masks_start_at_one_wherever_s_does_and_harden():
    for start in (-0.3, 0.0, 0.1):
        assert soft_mask([start] * 3, start, 1.0).soft_mask().tolist() == pytest.approx([1.0] * 3)
    hard = soft_mask([-0.2, -1.0, 0.2], -math.log(3), 200.0)
    assert hard.soft_mask().tolist() == pytest.approx([0.0, 0.0, 4.0], abs=1e-6)
    # A weight that is kept though its mask is closed is not lost in evaluation.
    assert hard.eval()(torch.ones(3)).tolist() == pytest.approx([1e-6, 1e-6, 0.0])


def test_open_masks_start_again_and_closed_ones_stay_closed():
    made = soft_mask([0.5, -0.01, -0.2], -0.1, 200.0)
    made.restart()
    assert made.s.tolist() == pytest.approx([-0.1, -2.0, -40.0])


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_continuous_sparsification_by_hand(rounds):
    # The network of test_pruners: A = (1, -2; 3, -4), B = (5, -6; 0.5, 2.5), x = (1, 1), class 0. A·x = (-1, -1) and
    # y = (1, -3), so dL/dy = (-q, q) with q = 1 / (1 + exp(4)); dL/dB = q · (1, 1; -1, -1), and dL/d(A·x) =
    # q · (-4.5, 8.5). A mask's gradient is that of its weight times the weight: q · (-4.5, 9; 25.5, -34) for A,
    # q · (5, -6; -0.5, -2.5) for B. s goes the other way: three masks close, and the best four are those of -34, -6,
    # -4.5 and -2.5.
    session = pair_session(0.5)
    pruner("continuous_sparsification", {"rounds": rounds, "coefficient": 0.0})(session)
    assert session.notes["native_sparsity"] == 3 / 8
    assert left(session) == [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
    assert session.weights["a.weight"].tolist() == [[pytest.approx(1.0), 0.0], [0.0, pytest.approx(-4.0)]]


def test_the_penalty_closes_masks():
    # Its gradient is coefficient · sigmoid'(0) / sigmoid(0), half of it; that of the loss is at most 34 q / 2 = 0.31.
    for coefficient, closed in ((0.0, 3 / 8), (1.0, 1.0)):
        session = pair_session(0.5)
        pruner("continuous_sparsification", {"rounds": 1, "coefficient": coefficient})(session)
        assert session.notes["native_sparsity"] == closed


@pytest.mark.parametrize(("rewind_to", "step"), [("0it", 0), ("6it", 6), ("50%", 15)])
def test_kept_weights_go_back_and_are_trained_from_there(rewind_to, step):
    session, early = make_session(RECIPES["sgd"], 0.5), make_session(RECIPES["sgd"], 0.5)
    arguments = {"rewind_to": rewind_to, "coefficient": 0.0}
    pruner("continuous_sparsification", {**arguments, "rounds": 3})(session)
    assert [sum(event.steps for event in session.account.ledger.events), session.step] == [3 * 30 + 30 - step, 30]
    # Up to there a search of one round is the same, and so are the weights of that step.
    pruner("continuous_sparsification", {**arguments, "rounds": 1})(early)
    for layer, mask in session.masks.items():
        both = mask & early.masks[layer]
        ours, theirs = session.course.ticket.state[layer], early.course.ticket.state[layer]
        assert both.any() and torch.equal(ours[both], theirs[both])
        if step == 0:
            assert torch.equal(ours, make_session(RECIPES["sgd"], 0.5).weights[layer] * mask)
    assert session.course.ticket.step == step


def test_masks_do_not_decay():
    for weight_decay in (0.0, 0.5):
        session = make_session(recipe(learning_rate=1e-5, weight_decay=weight_decay, momentum=0.0), 0.5)
        pruner("continuous_sparsification", {"initial": 0.5, "rounds": 1})(session)
        assert session.notes["native_sparsity"] == 0.0


def test_rewinding_to_a_step_behind_the_end_is_refused():
    with pytest.raises(SessionError, match="31"):
        pruner("continuous_sparsification", {"rewind_to": "31it"})(make_session())
