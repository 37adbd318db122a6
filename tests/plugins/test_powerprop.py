"""Powers of trained tensors as weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_bench.errors import Unsuitable
from lth_bench.pruning.allocation import kept_count
from lth_bench_plugins.parametrisations.power import Power
from lth_bench_plugins.powerprop import sparsities
from support.networks import RECIPES, make_session, states_equal
from support.pairs import kept, left, pair_session, pruner


@pytest.mark.parametrize(
    ("alpha", "weights", "gradients"),
    [
        (1, [2.0, -3.0, 0.5, 0.0], [1.0, 1, 1, 1]),
        (2, [4.0, -9.0, 0.25, 0.0], [4.0, 6, 1, 0]),
        (3, [8.0, -27.0, 0.125, 0.0], [12.0, 27, 0.75, 0]),
        (1.5, [8**0.5, -(27**0.5), 0.125**0.5, 0.0], [1.5 * 2**0.5, 1.5 * 3**0.5, 1.5 * 0.5**0.5, 0]),
    ],
)
def test_powerprop_by_hand(alpha, weights, gradients):
    theta = torch.tensor([2.0, -3.0, 0.5, 0.0], requires_grad=True)
    power = Power(alpha)
    made = power(theta)
    assert made.tolist() == pytest.approx(weights)
    made.sum().backward()
    assert theta.grad.tolist() == pytest.approx(gradients)
    assert power.right_inverse(made.detach()).tolist() == pytest.approx([2.0, -3.0, 0.5, 0.0])


def test_training_starts_from_the_weights_of_other_methods_and_moves_large_ones_more():
    # A = (1, -2; 3, -4), B = (5, -6; 0.5, 2.5), x = (1, 1), class 0: A·x = (-1, -1), y = (1, -3), and the gradient of
    # the loss at y is d = (p - 1, 1 - p) with p = 1 / (1 + exp(-4)). That of B is d times (-1, -1), row by row.
    # With α = 2, θ = sign(b) · √|b| moves by 2 · √|b| times it, at rate 0.1.
    session = pair_session(0.0, rate=0.1)
    pruner("powerprop", {"alpha": 2.0})(session)
    d = 1 / (1 + torch.tensor(4.0).exp())
    before = torch.tensor([[5.0, -6.0], [0.5, 2.5]])
    gradient = torch.stack([d, -d])[:, None].expand(2, 2)
    theta = before.sign() * before.abs().sqrt()
    theta = theta - 0.1 * 2 * theta.abs() * gradient
    torch.testing.assert_close(session.weights["b.weight"].data, theta * theta.abs())


def test_the_output_layer_keeps_twice_the_share_or_everything():
    # Of 312 weights, 24 in the output layer: 336 shares. At 50 %, 156 / 336 of the others, 2 · 156 / 336 of it; at 25 %
    # it keeps all, and 210 of 288 are left to the others.
    shares = {0.5: [89, 45, 22], 0.25: [140, 70, 24], 0.9: [18, 9, 4], 0.0: [192, 96, 24]}
    session = make_session()
    for sparsity, counts in shares.items():
        found = sparsities(session, sparsity)
        assert [kept_count(found[name], weight.numel()) for name, weight in session.weights.items()] == counts


def test_the_largest_weights_of_every_layer_stay():
    session = pair_session(0.25)
    pruner("powerprop", {})(session)
    # Of 4 + 4 weights 6 stay: all of the output layer, and 2 of the other.
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [1, 1]]]


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
@settings(max_examples=3, deadline=None)
@given(sparsity=st.floats(0.0, 0.98), seed=st.integers(0, 1000))
def test_powerprop_meets_its_target_to_one_weight(alpha, sparsity, seed):
    session = make_session(RECIPES["adam"], sparsity, seed)
    pruner("powerprop", {"alpha": alpha})(session)
    session.finish()
    assert kept(session) == kept_count(sparsity, 312) and not session.elements
    for layer, weight in session.weights.items():
        assert torch.equal(weight != 0, session.masks[layer])


def test_without_powers_it_is_plain_training():
    powered, plain = make_session(RECIPES["sgd"], 0.5), make_session(RECIPES["sgd"], 0.5)
    pruner("powerprop", {"alpha": 1.0})(powered)
    plain.train()
    plain.prune({name: weight.abs() for name, weight in plain.weights.items()}, sparsities(plain, 0.5))
    assert states_equal(powered.snapshot().state, plain.snapshot().state)


def test_a_layer_of_zeros_is_refused_where_it_would_stay_one():
    for alpha in (1.0, 2.0):
        session = make_session()
        session.weights["fc2.weight"].data.zero_()
        method = pruner("powerprop", {"alpha": alpha})
        if alpha == 1:
            method(session)
            continue
        with pytest.raises(Unsuitable, match=r"layer 'fc2\.weight' are zero, and powers of zero are not trained"):
            method(session)
        assert session.step == 0 and session.account.ledger.events == []


@pytest.mark.parametrize("alpha", [0.5, -2.0, "cubic"])
def test_a_power_below_one_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        pruner("powerprop", {"alpha": alpha})
