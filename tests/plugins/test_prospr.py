"""ProsPr: gradients through the first steps of training, by hand, and what they cost."""

import math

import pytest
import torch
from torch import nn

from lth_bench.data.examples import Batch, Examples
from lth_bench.training.ledger import Ledger
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import CLASSES, examples, make_session, recipe, states_equal
from support.pairs import kept, left, pair_session, pruner

BATCH = Batch(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))


class Two(nn.Module):
    """Two outputs of one input: weights 1 and -0.5."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(1, 2, bias=False)
        self.a.weight.data = torch.tensor([[1.0], [-0.5]])

    def forward(self, x):
        return self.a(x)


def two_session():
    return Session(Setup(lambda seed: Two(), Examples(*BATCH), Examples(*BATCH), recipe(batch_size=1), 0.5, 0))


def found(**arguments):
    prospr = pruner("prospr", {"learning_rate": 0.25, **arguments})
    return prospr.scores(two_session(), [BATCH] * (prospr.steps + 1))["a.weight"].flatten().tolist()


def test_scores_by_hand():
    # x = 1, class 0: the loss is log(1 + exp(f)) of f = w1 - w0 = -1.5, its derivative s(f) = 1 / (1 + exp(-f)). A step
    # of rate 1/4 takes s/4 from w1 and adds it to w0, so that f falls by s(f)/2, and by 1 - s'(f)/2 for each unit of f.
    def s(f):
        return 1 / (1 + math.exp(-f))

    def slope(f):
        return s(f) * (1 - s(f))

    f0 = -1.5
    f1 = f0 - s(f0) / 2
    f2 = f1 - s(f1) / 2
    # df0/dc is -1 for the first connection, and -0.5 for the second.
    first_order = s(f2)
    assert found(steps=2, gradients="first_order") == pytest.approx([first_order, first_order / 2], rel=1e-5)
    full = first_order * (1 - slope(f0) / 2) * (1 - slope(f1) / 2)
    assert found(steps=2) == pytest.approx([full, full / 2], rel=1e-5)
    # With a momentum of 1/2 the second step moves f by (s(f0)/2 + s(f1))/2, and what the first moved it by is constant.
    last = f1 - (s(f0) / 2 + s(f1)) / 2
    full = s(last) * (1 - slope(f1) / 2)
    assert found(steps=2, momentum=0.5) == pytest.approx([full, full / 2], rel=1e-5)
    assert found(steps=2, momentum=0.5, gradients="first_order") == pytest.approx([s(last), s(last) / 2], rel=1e-5)


def test_without_a_real_step_it_is_snip():
    # |A_ij · d_i| and |B_ki · u_i|, d = (-4.5, 8.5), u = (-1, -1): A 4.5, 9, 25.5, 34, B 5, 6, 0.5, 2.5.
    session = pair_session(0.5)
    pruner("prospr", {"steps": 1, "learning_rate": 1e-9, "examples": 1})(session)
    assert left(session) == [[[0, 1], [1, 1]], [[0, 1], [0, 0]]]


def test_new_batches_are_a_choice():
    session = make_session()
    same, other = (pruner("prospr", {"examples": 9, "new_batches": new}).batches(session) for new in (False, True))
    assert len(same) == len(other) == 4
    assert all(torch.equal(batch.inputs, same[0].inputs) for batch in same)
    assert all(not torch.equal(batch.inputs, other[0].inputs) for batch in other[1:])


def test_the_network_is_as_before_and_every_pass_is_charged():
    session = make_session(sparsity=0.8)
    before = {key: value.clone() for key, value in session.model.state_dict().items()}
    cost = {}
    for gradients in ("first_order", "full"):
        session.account.ledger = Ledger()
        pruner("prospr", {"examples": 8, "gradients": gradients}).scores(session, [session.sample(8)] * 4)
        cost[gradients] = sum(event.flops for event in session.account.ledger.events if event.kind == "score")
        assert sum(event.examples for event in session.account.ledger.events) == 4 * 8
    assert states_equal(before, session.model.state_dict())
    session.account.ledger = Ledger()
    pruner("snip", {"batch_statistics": True}).scores(session, [session.sample(8)])
    snip = sum(event.flops for event in session.account.ledger.events)
    assert cost["first_order"] == 4 * snip > 0
    # Going back through three steps takes another pass forward and backward at least for each.
    assert cost["full"] > 1.5 * cost["first_order"]


class Attention(nn.Module):
    """Attention among the four rows of an image, computed as timm does."""

    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, CLASSES)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v).mean((1, 2)))


def test_it_goes_back_through_attention():
    session = Session(Setup(lambda seed: Attention(), examples(70), examples(20, 1), recipe(), 0.5, 0))
    pruner("prospr", {"examples": 10})(session)
    assert 0 < kept(session) < sum(mask.numel() for mask in session.masks.values())
