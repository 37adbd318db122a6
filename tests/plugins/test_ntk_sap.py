"""NTK-SAP: sensitivities by hand, draws of weights and inputs, batch statistics, and costs."""

from itertools import combinations

import pytest
import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.pruning.allocation import kept_count
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import make_session, recipe, states_equal
from support.pairs import kept, pair_session, pruner

QUICK = {"rounds": 3, "draws": 2, "examples": 6}


class Chain(nn.Module):
    """y = 3 · 2 · x."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.a.weight.data, self.b.weight.data = torch.tensor([[2.0]]), torch.tensor([[3.0]])

    def forward(self, x):
        return self.b(self.a(x))


class Layer(nn.Module):
    """Two outputs of two inputs."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.a(x)


def session_of(network, inputs):
    data = Examples(torch.ones(2, inputs), torch.arange(2))
    return Session(Setup(lambda seed: network(), data, data, recipe(batch_size=2), 0.5, 0))


def test_scores_by_hand():
    # a = 2, b = 3 move to 2.1 and 2.9, and the output of x = 2 from 12 to 12.18. As a·b carries both
    # connections, so do both outputs: d/dm of m²·0.18² is 2 · 0.0324 for either.
    session = session_of(Chain, 1)
    ntk_sap, noise = pruner("ntk_sap", {"epsilon": 0.1}), {"a.weight": torch.ones(1, 1), "b.weight": -torch.ones(1, 1)}
    scores = ntk_sap.scores(session, [(torch.tensor([[2.0]]), noise)])
    assert [score.item() for score in scores.values()] == pytest.approx([0.0648, 0.0648], rel=1e-4)
    # Inputs add up: x = 2 and x = 4 make five times as much.
    scores = ntk_sap.scores(session, [(torch.tensor([[2.0], [4.0]]), noise)])
    assert [score.item() for score in scores.values()] == pytest.approx([0.324, 0.324], rel=1e-4)


def test_draws_add_up_before_the_absolute_value():
    # One layer W on x: the outputs differ by ε·(m∘ξ)x, whatever W. For ε = 1, x = (1, 2) and ξ = (1, 1; 2, -1) the rows
    # give 3 and 0, and d/dm_ij = 2 · row_i · ξ_ij · x_j: 6, 12, 0, 0.
    session, ntk_sap = session_of(Layer, 2), pruner("ntk_sap", {"epsilon": 1.0})
    one = torch.tensor([[1.0, 2.0]]), {"a.weight": torch.tensor([[1.0, 1.0], [2.0, -1.0]])}
    assert flat(ntk_sap.scores(session, [one])) == pytest.approx([6, 12, 0, 0], abs=1e-5)
    # ξ = (-1, 0.25; 1, 0): rows -0.5 and 1, 1, -0.5, 2, 0; without the absolute values the sums are 7, 11.5, 2, 0.
    other = one[0], {"a.weight": torch.tensor([[-1.0, 0.25], [1.0, 0.0]])}
    assert flat(ntk_sap.scores(session, [other])) == pytest.approx([1, 0.5, 2, 0], abs=1e-5)
    assert flat(ntk_sap.scores(session, [one, other])) == pytest.approx([7, 11.5, 2, 0], abs=1e-5)
    # Without m_12, the rows are 1 and 0, and m_12 itself scores nothing.
    session.adopt({"a.weight": torch.tensor([[True, False], [True, True]])})
    assert flat(ntk_sap.scores(session, [one])) == pytest.approx([2, 0, 0, 0], abs=1e-5)


def flat(scores):
    return scores["a.weight"].flatten().tolist()


def test_every_draw_has_other_weights_inputs_and_noise():
    session = make_session(sparsity=0.9)
    ntk_sap, seen = pruner("ntk_sap", {"draws": 2, "examples": 6}), []
    for round in range(2):
        with session.scoring():
            for inputs, noise in ntk_sap.drawn(session, round):
                assert inputs.shape == (6, *session.input_shape)
                seen.append((session.weights["fc1.weight"].detach().clone(), inputs, noise["fc1.weight"]))
    seen.append((session.weights["fc1.weight"].detach().clone(), torch.zeros(6), torch.zeros(6)))
    with session.scoring():
        session.redraw()
        seen.append((session.weights["fc1.weight"].detach().clone(), torch.ones(6), torch.ones(6)))
    for one, other in combinations(seen, 2):
        assert not any(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_the_weights_that_are_trained_are_the_initial_ones():
    session = make_session(sparsity=0.9)
    initial = session.snapshot().state
    pruner("ntk_sap", QUICK)(session)
    assert kept(session) == kept_count(0.9, 312)
    for layer, mask in session.masks.items():
        assert torch.equal(session.course.ticket.state[layer], initial[layer] * mask)


def test_it_sees_no_data():
    one, other = make_session(sparsity=0.8), make_session(sparsity=0.8)
    other.order.data.images.zero_()
    for session in (one, other):
        pruner("ntk_sap", QUICK)(session)
    assert states_equal(one.masks, other.masks)


class Normed(nn.Module):
    """Batch norm between two layers."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


def test_batch_norm_has_the_statistics_of_the_inputs_under_the_drawn_weights():
    session, inputs = session_of(Normed, 2), torch.tensor([[1.0, 2.0], [-3.0, 0.5], [4.0, 4.0]])
    noise = {name: torch.ones(shape) for name, shape in session.shapes.items()}
    with session.scoring():
        norm = session.model.norm
        norm.running_mean += 5
        pruner("ntk_sap", {}).sensitivities(session, inputs, noise)
        hidden = session.model.a(inputs).detach()
        assert torch.allclose(norm.running_mean, hidden.mean(0)) and torch.allclose(norm.running_var, hidden.var(0))
        assert norm.momentum == 0.1 and not norm.training
    assert torch.equal(session.model.norm.running_mean, torch.zeros(3))


def test_passes_cost_what_the_kept_weights_do():
    session = pair_session(0.5)
    pruner("ntk_sap", {"rounds": 2, "draws": 3, "examples": 10})(session)
    # Two rounds of three draws: three passes forward of ten inputs, two backward for both weights and hidden values.
    events = [event for event in session.account.ledger.events if event.kind == "score"]
    assert sum(event.examples for event in events) == 2 * 3 * 3 * 10
    layer = 2 * 10 * 4
    assert sum(event.flops for event in events) == 2 * 3 * (3 * 2 + 2 * 3) * layer
    assert sum(event.sparse_flops for event in events) < sum(event.flops for event in events)
