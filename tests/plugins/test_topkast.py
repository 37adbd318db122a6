"""Top-KAST: what passes read, what is trained, what rests, and what it costs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.errors import Diverged, Unsuitable
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.predictions import evaluate
from lth_bench.pruning.allocation import kept_count
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.parametrisations.exploring import Exploring
from lth_bench_plugins.topkast import choose
from support.networks import RECIPES, make_session, recipe
from support.pairs import kept, pruner

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def test_passes_and_gradients_by_hand():
    weight = torch.tensor([[4.0, -3.0, 2.0, -1.0]], requires_grad=True)
    layer = Exploring(weight, kept=2, trained=3, penalty=0.1)
    made = layer(weight)
    assert made.tolist() == [[4, -3, 0, 0]]
    (made * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    # The penalty pulls by 0.1 · w, and by 0.1 · w / (2 / 4) where a weight is trained but not read.
    assert weight.grad[0].tolist() == pytest.approx([1 + 0.4, 2 - 0.3, 3 + 0.2 / 0.5, 0])
    assert (layer.forward_density, layer.backward_density) == (0.5, 0.75)


def test_the_active_set_is_the_one_that_was_chosen_last():
    weight = torch.tensor([4.0, -3.0, 2.0, -1.0])
    layer = Exploring(weight, kept=2, trained=3, penalty=0.0)
    weight[3] = 5.0
    assert layer(weight).tolist() == [4, -3, 0, 0]
    layer.choose(weight)
    assert layer(weight).tolist() == [4, 0, 0, 5]
    assert layer.trained.tolist() == [True, True, False, True]


def one_layer(steps):
    """A layer of two equal rows that learns at rate 1 from one example, which reads its third weights alone."""
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[0.4, 0.3, 0.2, 0.1]] * 2)
    data = Examples(torch.tensor([[0.0, 0.0, 2.0, 0.0]]), torch.tensor([0]))
    return Session(Setup(lambda seed: nn.Sequential(layer), data, data, Recipe(Duration(f"{steps}it"), 1, 1.0), 0.5, 0))


def test_topkast_by_hand():
    session = one_layer(steps=2)
    pruner("topkast", {"exploration": 0.5, "penalty": 0.1, "interval": "1it"})(session)
    # 4 of 8 weights are read and 6 trained: first 0.4 and 0.3, and 0.2 too. Both outputs are 0, so that the third
    # weights go by 0.5 · 2 up and down, and by 0.1 · 0.2 / 0.5 to zero; then they are the largest with 0.4 less 0.04.
    up, down, first = 0.2 - 0.04 + 1, 0.2 - 0.04 - 1, 0.4 * 0.9
    wrong = 1 / (1 + math.exp(2 * up - 2 * down))
    expected = [[first * 0.9, 0, up * 0.9 + 2 * wrong, 0], [first * 0.9, 0, down * 0.9 - 2 * wrong, 0]]
    torch.testing.assert_close(session.weights["0.weight"].data, torch.tensor(expected))
    assert session.masks["0.weight"].tolist() == [[True, False, True, False]] * 2
    (event,) = session.account.ledger.events
    assert (event.kind, event.steps, event.kept, event.gradients) == ("train", 2, (4,), (6,))


def test_between_choices_the_sets_stay():
    session = one_layer(steps=2)
    pruner("topkast", {"exploration": 0.5, "penalty": 0.0, "interval": "2it"})(session)
    # The third weights grow in both steps, but no pass has read them.
    assert session.masks["0.weight"].tolist() == [[True, True, False, False]] * 2
    assert torch.equal(session.weights["0.weight"], torch.tensor([[0.4, 0.3, 0, 0]] * 2))


@every_recipe
def test_weights_outside_the_trained_set_rest(recipe):
    session, method = make_session(recipe, 0.8), pruner("topkast", {"penalty": 0.01})
    layers = method.parametrize(session, method.sparsities(session))
    left = 0
    for batch in session.batches():
        if session.step % 3 == 0:
            before = {name: layer.trained.clone() for name, layer in layers.items()}
            choose(session, layers)
            left += sum(int((before[name] & ~layer.trained).sum()) for name, layer in layers.items())
        weights = {name: weight.detach().clone() for name, weight in session.weights.items()}
        session.loss(batch).backward()
        session.update()
        for name, layer in layers.items():
            moved = session.weights[name].detach() != weights[name]
            assert not moved[~layer.trained].any()
            assert moved[layer.active].any()
    assert left > 0, "weights that had moved came to rest"


@every_recipe
@pytest.mark.parametrize("arguments", [{}, {"interval": "7it", "distribution": "erk", "exploration": 4.0}])
def test_what_was_measured_last_is_what_is_left_at_the_target(recipe, arguments):
    session = make_session(recipe, 0.8)
    pruner("topkast", arguments)(session)
    session.finish()
    assert kept(session) == kept_count(0.8, 312)
    last = session.course.monitor.curve[-1]
    assert (last.validation_loss, last.validation_accuracy) == evaluate(session.model, session.course.validation)
    assert {point.kept for point in session.course.monitor.curve} == {kept(session)}


def test_the_penalty_takes_the_place_of_weight_decay():
    ends = []
    for decay in (0.0, 0.5):
        session = make_session(recipe(weight_decay=decay, decay="weights", learning_rate=1e-3), 0.8)
        pruner("topkast", {"penalty": 0.0})(session)
        ends.append(session.weights["fc1.weight"].detach().clone())
    assert torch.equal(*ends)


def test_exploration_stops_at_all_weights():
    session = make_session(sparsity=0.5)
    pruner("topkast", {"exploration": 9.0})(session)
    (event,) = session.account.ledger.events
    assert (sum(event.kept), sum(event.gradients)) == (156, 312)


def test_without_exploration_gradients_are_those_of_the_weights_that_are_read():
    session = make_session(sparsity=0.5)
    pruner("topkast", {"exploration": 0.0})(session)
    (event,) = session.account.ledger.events
    assert (sum(event.kept), event.gradients) == (156, None)


def test_topkast_refuses_what_it_cannot_do():
    for session, arguments, words in (
        (make_session(sparsity=0.8), {"interval": "0it"}, "less than one step"),
        (make_session(sparsity=0.995), {"distribution": "uniform"}, "no weight of layer 'fc3.weight' is left"),
        (make_session(pattern="2:4"), {}, "does not support patterns"),
    ):
        with pytest.raises(Unsuitable, match=words):
            pruner("topkast", arguments)(session)
        assert session.step == 0 and session.account.ledger.events == []
    for parameter in ("exploration", "penalty"):
        with pytest.raises(ValueError, match=parameter):
            pruner("topkast", {parameter: -0.1})


def test_topkast_that_diverges_is_told_as_such():
    session = make_session(recipe(learning_rate=1e30), 0.8)
    with pytest.raises(Diverged):
        pruner("topkast", {"interval": "1it"})(session)
        session.finish()
