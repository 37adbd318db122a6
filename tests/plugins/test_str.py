"""Soft thresholds, trained for every layer."""

from __future__ import annotations

import math

import pytest
import torch

from lth_bench.data.examples import Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.parametrisations.selection import Selection
from lth_bench_plugins.parametrisations.soft_thresholded import SoftThresholded
from support.networks import make_session, recipe
from support.pairs import Pair, left, pruner


def test_str_by_hand():
    weight = torch.tensor([[1.0, -2.0], [0.3, 0.1]], requires_grad=True)
    best = Selection(lambda: {"a": torch.tensor([[0.0, 1.0], [3.0, 2.0]])}, 0.5)
    gate = SoftThresholded("a", weight, best, math.log(1 / 3))  # of which the sigmoid is 1/4, and its slope 3/16
    made = gate(weight)
    assert made.flatten().tolist() == pytest.approx([0.75, -1.75, 0.05, 0.0])
    (made * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert weight.grad.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert gate.s.grad.item() == pytest.approx(-3 / 16 * (1 - 2 + 3))
    # What is evaluated are the two best; the last lies below the threshold.
    assert gate.eval()(weight).flatten().tolist() == pytest.approx([0.0, 0.0, 0.05, 1e-6])


class Flat(Pair):
    """A network whose outputs do not depend on its weights."""

    def forward(self, x):
        return super().forward(x) * 0


@pytest.mark.parametrize(("decay", "threshold"), [(0.0, 1 / 5), (0.5, 1 / 3), (1.0, 1 / 2), (10.0, 1 - 4e-6)])
def test_thresholds_rise_by_their_decay(decay, threshold):
    # One step at rate 1 takes s from -log 4 to (decay - 1) · log 4; the loss moves nothing.
    data, steps = Examples(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64)), Recipe(Duration("1it"), 1, 1.0)
    session = Session(Setup(lambda seed: Flat(), data, data, steps, 0.25, 0))
    pruner("str", {"initial": -math.log(4), "decay": decay})(session)
    assert left(session) == [[[0, 1], [1, 1]], [[1, 1], [0, 1]]]
    below = sum(size <= threshold for size in (1, 2, 3, 4, 5, 6, 0.5, 2.5))
    assert session.notes["native_sparsity"] == below / 8
    expected = [[0.0, threshold - 2], [3 - threshold, threshold - 4]]
    torch.testing.assert_close(session.weights["a.weight"].data, torch.tensor(expected))


def test_thresholds_do_not_decay_by_the_recipe():
    for weight_decay in (0.0, 0.5):
        session = make_session(recipe(learning_rate=1e-6, weight_decay=weight_decay, momentum=0.0), 0.5)
        pruner("str", {"initial": 0.0})(session)
        assert session.notes["native_sparsity"] > 0.99
