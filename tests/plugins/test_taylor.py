"""Taylor scores of channels by hand, as those of gates, and over rounds."""

from __future__ import annotations

import math

import pytest
import torch

from lth_bench.data.examples import Batch
from lth_bench.methods.structured import filter_layers
from support.networks import make_session, states_equal
from support.pairs import pair_session, pruner

IMAGES = torch.ones(2, 2)
FIRST, SECOND = (Batch(IMAGES[:1], torch.tensor([label])) for label in (0, 1))
BOTH = Batch(IMAGES, torch.tensor([0, 1]))
QUICK = {"batches": 2, "examples": 8, "layers": "all"}


def test_scores_by_hand():
    # The hidden values are (-1, -1), the logits (1, -3), the probabilities p and q. For class 0 the gradients are
    # (-q, q) at the logits and (-4.5 q, 8.5 q) at the hidden values; for class 1, the same with -p in the place of q.
    p, q = 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(4))
    session = pair_session()
    for criterion, one, two in (
        ("gate", 4.5**2, 8.5**2),
        ("weights", 4.5**2 * (1 + 2**2), 8.5**2 * (3**2 + 4**2)),
    ):
        taylor = pruner("taylor", {"criterion": criterion})
        for batches, factor in (
            ([FIRST], q**2),
            ([SECOND], p**2),
            ([FIRST, SECOND], (p**2 + q**2) / 2),
            ([BOTH], ((p - q) / 2) ** 2),
        ):
            scores = taylor.scores(session, ["a.weight"], batches)["a.weight"]
            assert scores.tolist() == pytest.approx([one * factor, two * factor], rel=1e-4)
    assert all(weight.grad is None for weight in session.model.parameters())


def test_the_round_before_has_a_part_in_the_scores():
    taylor, scores = pruner("taylor", {"momentum": 0.75}), {"a": torch.tensor([4.0, 0.0])}
    assert taylor.mixed({}, scores)["a"].tolist() == [4, 0]
    assert taylor.mixed({"a": torch.tensor([8.0, 4.0])}, scores)["a"].tolist() == [7, 3]


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_the_score_is_that_of_a_gate_behind_the_norm_or_the_layer(batch_statistics):
    session = make_session()
    session.train()
    names, batch = filter_layers(session, "all", "all"), session.sample(16)
    assert 0 < len(session.norms.keys() & set(names)) < len(names), "one layer with and one without a norm"
    layers = {name: session.norms.get(name, session.model.get_submodule(name[: -len(".weight")])) for name in names}
    gates = {name: torch.ones(len(session.weights[name]), requires_grad=True) for name in names}
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output, gate=gates[name]: output * gate)
        for name, layer in layers.items()
    ]
    with session.scoring(training=batch_statistics):
        found = torch.autograd.grad(session.loss(batch), list(gates.values()))
    for hook in hooks:
        hook.remove()
    scores = pruner("taylor", {"batch_statistics": batch_statistics}).scores(session, names, [batch])
    for name, gradient in zip(names, found, strict=True):
        torch.testing.assert_close(scores[name], gradient.square(), rtol=1e-3, atol=1e-9)


def test_every_round_scores_other_batches_in_the_network_as_pruned_so_far():
    session, followed = make_session(sparsity=0.6), make_session(sparsity=0.6)
    taylor = pruner("taylor", {**QUICK, "rounds": 2, "momentum": 0.0, "rewind_to": "10it"})
    taylor(session)
    assert sum(event.steps for event in session.account.ledger.events) == 30 + 20
    followed.train()
    for sparsity, numbers in ((0.3, (0, 1)), (0.6, (2, 3))):
        batches = [followed.sample(8, number) for number in numbers]
        followed.prune_channels(taylor.scores(followed, ["fc1.weight", "fc2.weight"], batches), sparsity)
    assert states_equal(session.channels, followed.channels)
    once = make_session(sparsity=0.6)
    once.train()
    once.prune_channels(taylor.scores(once, ["fc1.weight", "fc2.weight"], [once.sample(8, 2), once.sample(8, 3)]))
    assert not states_equal(session.channels, once.channels)
