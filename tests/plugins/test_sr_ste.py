"""Training under a pattern with a sparse-refined straight-through estimator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.errors import Diverged, Unsuitable
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.predictions import evaluate
from lth_bench.pruning import masks, patterns
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.parametrisations.patterned import Patterned
from support.networks import RECIPES, make_session, recipe
from support.pairs import kept, pruner


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("2:4", [False, True, False, True, True, False, True, False]),
        ("1:4", [False, True, False, False, False, False, True, False]),
        ("3:8", [False, True, False, True, False, False, True, False]),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_sr_ste_by_hand(pattern, left, training):
    weight = torch.tensor([[1.0, -4.0, 2.0, 3.0, 0.6, -0.5, 7.0, 0.0]], requires_grad=True)
    made = Patterned(parsed(pattern), decay=0.1).train(training)(weight)
    assert (made != 0).tolist() == [left]
    assert torch.equal(made[made != 0], weight[made != 0])
    upstream = torch.arange(8.0)
    (made * upstream).sum().backward()
    decays = [0.0 if stays else 0.1 * value for stays, value in zip(left, weight[0].tolist(), strict=True)]
    assert weight.grad[0].tolist() == pytest.approx((upstream + torch.tensor(decays)).tolist())


def test_a_convolution_keeps_input_channels_at_each_position_of_its_kernel():
    weight = torch.tensor([[[[1.0, -8.0]], [[2.0, 7.0]], [[-3.0, 6.0]], [[4.0, 5.0]]]])
    made = Patterned(parsed("2:4"), decay=0.1)(weight)
    assert made[0, :, 0].tolist() == [[0, -8], [0, 7], [-3, 0], [4, 0]]


def one_step(network, inputs, labels):
    """One step at rate 1, under 2:4."""
    data, recipe = Examples(inputs, labels), Recipe(Duration("1it"), len(labels), 1.0)
    return Session(Setup(lambda seed: network, data, data, recipe, 0.5, 0, pattern=parsed("2:4")))


def test_a_pruned_weight_trains_on_and_comes_back():
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[0.4, 0.3, 0.2, 0.1]] * 2)
    session = one_step(nn.Sequential(layer), torch.tensor([[0.0, 0.0, 2.0, 0.0]]), torch.tensor([0]))
    pruner("sr_ste", {"decay": 0.1})(session)
    # Both outputs are 0: the third weights go by 2 · 0.5 up and down, and by 0.1 · 0.2 to zero.
    expected = torch.tensor([[0.4, 0.0, 1.18, 0.0], [0.4, 0.0, -0.82, 0.0]])
    torch.testing.assert_close(session.weights["0.weight"].data, expected)
    assert session.masks["0.weight"].tolist() == [[True, False, True, False]] * 2


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "1:2"])
def test_what_was_measured_last_under_the_pattern_is_what_is_left(pattern):
    session = make_session(RECIPES["adam"], pattern=pattern)
    pruner("sr_ste", {})(session)
    session.finish()
    last = session.course.monitor.curve[-1]
    assert (last.validation_loss, last.validation_accuracy) == evaluate(session.model, session.course.validation)
    assert patterns.breach(session.masks, session.pattern) is None
    assert {point.kept for point in session.course.monitor.curve} == {kept(session)}
    assert kept(session) == 312 * session.pattern.kept / session.pattern.of


def test_layers_that_cannot_hold_the_pattern_are_trained_dense():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, 2))
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data.normal_(generator=draw).mul_(0.1)
    session = one_step(network, torch.randn(2, 3, 5, 5, generator=draw), torch.tensor([0, 1]))
    before = session.snapshot().state
    pruner("sr_ste", {})(session)
    session.finish()
    assert masks.kept(session.masks) == {"0.weight": 4 * 27, "1.weight": 6 * 36 / 2, "3.weight": 12}
    assert all((session.weights[layer] != before[layer]).all() for layer in ("0.weight", "3.weight"))


def test_training_is_charged_with_passes_in_the_pattern_and_gradients_of_all_weights():
    session = make_session(pattern="2:4")
    pruner("sr_ste", {})(session)
    (event,) = session.account.ledger.events
    assert (event.kind, event.step, event.steps) == ("train", 0, 30)
    assert (sum(event.kept), sum(event.gradients)) == (156, 312)


def test_without_a_pattern_sr_ste_says_how_to_ask_for_one():
    session = make_session()
    with pytest.raises(Unsuitable, match=r'in place of a number: sparsities = \["2:4"\]'):
        pruner("sr_ste", {})(session)
    assert session.step == 0 and session.account.ledger.events == []


def test_a_negative_decay_is_refused():
    with pytest.raises(ValueError, match="decay"):
        pruner("sr_ste", {"decay": -2e-4})


def test_sr_ste_in_bfloat16():
    session = make_session(recipe(precision="bfloat16"), pattern="2:4")
    pruner("sr_ste", {})(session)
    session.finish()
    assert kept(session) == 156
    assert all(weight.dtype == torch.float32 for weight in session.weights.values())


def test_training_under_a_pattern_that_diverges_is_told_as_such():
    session = make_session(recipe(learning_rate=1e30), pattern="2:4")
    with pytest.raises(Diverged):
        pruner("sr_ste", {})(session)
        session.finish()
