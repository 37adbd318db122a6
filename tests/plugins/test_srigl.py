"""SRigL: a constant fan-in, neurons that lose all their weights, and what is salient."""

from __future__ import annotations

import pytest
import torch

from lth_bench.errors import Unsuitable
from lth_bench.pruning.allocation import kept_count
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.srigl import Layer, largest
from support.networks import RECIPES, examples, make_session, network
from support.pairs import kept, pruner

OFTEN = {"interval": "3it"}
VARIANTS = [OFTEN, {"salient": 0.0, **OFTEN}, {"salient": 1.0, "distribution": "uniform", **OFTEN}]
every_variant = pytest.mark.parametrize("arguments", VARIANTS, ids=str)


def layer():
    """Three neurons of four weights, two of which each has, and gradients of the others."""
    size = torch.tensor([[9.0, 8.0, 0.0, 0.0], [0.0, 7.0, 6.0, 0.0], [0.0, 0.0, 2.0, 1.0]])
    growth = torch.tensor([[0.1, 0.2, 0.3, 0.9], [0.5, 0.1, 0.2, 0.4], [0.2, 0.3, 0.0, 0.1]])
    return Layer(size > 0, size, growth, budget=6)


def test_an_update_by_hand():
    # A third of six weights goes: 1 and 2. The third neuron grows by its gradients 0.3 and 0.2, the others stay.
    assert layer().updated(1 / 3, minimum=0).int().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]]


def test_a_neuron_without_salient_weights_goes_by_hand():
    # Salient are 9, 8, 7 and 6 and the gradients 0.9 and 0.5: 3, 3 and 0 a neuron. Of two neurons, each has 6 // 2.
    assert layer().updated(1 / 3, minimum=1).int().tolist() == [[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]
    # A sixth is one weight. Of the salient ones, 9, 8, 7, 6, 2 and the gradient 0.9, the third neuron has one.
    assert layer().updated(1 / 6, minimum=2).int().tolist() == [[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_enough_neurons_stay_to_hold_all_weights():
    # Six weights need two neurons of four, whatever is asked of each.
    assert layer().updated(1 / 3, minimum=4).int().tolist() == [[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_a_neuron_comes_back_and_the_others_keep_their_largest_weights():
    size = torch.tensor([[9.0, 8.0, 7.0, 0.0], [0.0, 4.0, 5.0, 6.0], [0.0, 0.0, 0.0, 0.0]])
    growth = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], [0.2, 0.8, 0.7, 0.3]])
    # Without 4 and 5, three neurons have 6 // 3: 7 goes too, and the gradients 0.8 and 0.7 bring back the third.
    found = Layer(size > 0, size, growth, budget=6).updated(1 / 3, minimum=1)
    assert found.int().tolist() == [[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0]]


def test_weights_that_are_zero_do_not_stay_by_their_size():
    size = torch.tensor([[9.0, 0.0, 0.0], [7.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    growth = torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.2, 0.1]])
    assert Layer(mask, size, growth, 4).updated(0.0, 0).int().tolist() == [[1, 0, 1], [1, 1, 0]]


def test_the_largest_of_each_neuron_and_ties():
    scores = torch.tensor([[[1.0, 3.0], [3.0, 3.0]], [[2.0, 0.0], [1.0, 2.0]]])
    assert largest(scores, 2).int().tolist() == [[[0, 1], [1, 0]], [[1, 0], [0, 1]]]


def test_the_number_of_salient_weights():
    assert [pruner("srigl", {"salient": share}).minimum(10) for share in (0.0, 0.01, 0.3, 0.39, 1.0)] == [
        0,
        1,
        3,
        3,
        10,
    ]


class Watched(Session):
    """A Session that remembers all masks that were in force."""

    def __init__(self, recipe, sparsity):
        super().__init__(Setup(network, examples(70), examples(20, 1), recipe, sparsity, 0))
        self.seen = []

    def adopt(self, masks, *others):
        super().adopt(masks, *others)
        self.seen.append(self.masks)

    def rewire(self, masks):
        super().rewire(masks)
        self.seen.append(self.masks)


@every_variant
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_the_fan_in_is_constant_at_every_step(arguments, optimizer, sparsity):
    session, method = Watched(RECIPES[optimizer], sparsity), pruner("srigl", arguments)
    budgets = method.budgets(session)
    method(session)
    session.finish()
    assert len(session.seen) == 9 and not torch.equal(session.seen[0]["fc1.weight"], session.seen[-1]["fc1.weight"])
    for masks in session.seen:
        for name, mask in masks.items():
            rows = mask.flatten(1).sum(1)
            active = int((rows > 0).count_nonzero())
            assert set(rows[rows > 0].tolist()) == {budgets[name] // active}
            if name == session.output_layer or not arguments.get("salient", 0.3):
                assert active == len(mask)
    assert session.notes["ablated_neurons"] == [int((~m.any(1)).count_nonzero()) for m in session.masks.values()]
    assert kept(session) <= kept_count(sparsity, 312)
    assert ("off_target" in session.notes) == (kept(session) < kept_count(sparsity, 312))


def test_neurons_go_in_training():
    session = make_session(sparsity=0.8)
    pruner("srigl", {"salient": 1.0, "drop_fraction": 0.5, **OFTEN})(session)
    assert sum(session.notes["ablated_neurons"]) > 0


def test_a_layer_without_a_weight_for_every_neuron_is_refused():
    session = make_session(sparsity=0.95)
    with pytest.raises(
        Unsuitable, match=r"weights for the 12 neurons of layer 'fc1.weight' are less than one for each"
    ):
        pruner("srigl", {"distribution": "uniform"})(session)
    assert session.step == 0


def test_shares_that_mean_nothing_are_refused():
    for parameter, value in {"salient": 1.1, "drop_fraction": 1.0, "interval": "3"}.items():
        with pytest.raises(ValueError, match=parameter):
            pruner("srigl", {parameter: value})
