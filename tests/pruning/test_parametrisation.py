"""Weights that are computed from something else, and the other ways in which a Session is changed by a pruner."""

import pytest
import torch
from torch import nn

from lth_bench.errors import SessionError
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.pruning import masks
from lth_bench.running.evaluation import _layer
from lth_bench.running.outcomes import hand_over, outcome, take
from lth_bench.storage.record import LayerSparsity
from support.networks import make_session, recipe, states_equal


class Half(nn.Module):
    """Half of the weight in evaluation mode, all of it in training mode; the sparser half of the rows is zero."""

    def forward(self, weight):
        kept = torch.arange(len(weight)).view(-1, 1) % 2 == 0
        return weight if self.training else torch.where(kept, weight / 2, 0.0)


class Product(nn.Module):
    """A weight as the product of a column and a row."""

    def forward(self, column, row):
        return column @ row

    def right_inverse(self, weight):
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, :1] * values[:1], right[:1]


def test_what_is_evaluated_is_what_a_weight_is_in_evaluation_mode():
    session = make_session()
    session.parametrize(lambda name, weight: Half())
    session.train()
    raw = {name: weight.detach().clone() for name, weight in session.weights.items()}
    session.finish()
    state = session.model.state_dict()
    assert not any("parametrizations" in name for name in state)
    for name, weight in raw.items():
        assert torch.equal(state[name][0::2], weight[0::2] / 2)
        assert not state[name][1::2].any()
    assert session.course.ticket.state.keys() == session.course.monitor.accurate.state.keys() == state.keys()
    assert [point.kept for point in session.course.monitor.curve] == [6 * 16 + 4 * 12 + 2 * 8] * 6


def test_best_points_live_on_when_the_masks_say_what_was_evaluated_already():
    session = make_session()
    session.parametrize(lambda name, weight: Half())
    session.train()
    best = session.course.monitor.accurate
    session.bake()
    kept = {name: weight.detach().abs() for name, weight in session.weights.items()}
    session.prune(kept, 1 - 160 / 312)
    assert session.course.monitor.accurate is best
    session.prune(kept, 1 - 100 / 312)
    assert session.course.monitor.accurate is None


def test_a_weight_of_few_numbers_counts_for_these(tmp_path):
    session = make_session(sparsity=0.0)
    session.parametrize(lambda name, weight: Product())
    session.train()
    session.finish()
    made = outcome([session])
    assert made.facts.elements == {"fc1.weight": 12 + 16, "fc2.weight": 8 + 12, "fc3.weight": 3 + 8}
    back = take(tmp_path / "x", hand_over(tmp_path / "x", made))
    assert _layer(back, "fc1.weight", None) == LayerSparsity(size=192, mask=192, kept=28)
    assert torch.linalg.matrix_rank(back.states["last"]["fc1.weight"]) == 1


def test_what_was_baked_before_the_end_is_an_ordinary_weight():
    session = make_session(sparsity=0.5)
    start = session.snapshot()
    session.parametrize(lambda name, weight: Product())
    session.train(until=10)
    with pytest.raises(SessionError, match="weights were computed otherwise; take one after that"):
        session.rewind(start)
    session.bake()
    session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
    session.train()
    session.finish()
    made = outcome([session])
    assert made.facts.elements == {}
    for name, mask in session.masks.items():
        assert torch.equal(made.states["last"][name] != 0, mask)
    assert sum(masks.kept(session.masks).values()) == 156


def test_frozen_weights_stay_and_their_masks_are_trained():
    class Gate(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.gate = nn.Parameter(torch.ones_like(weight))

        def forward(self, weight):
            return weight * self.gate

    session = make_session()
    before = session.snapshot()
    session.model.requires_grad_(False)
    gates = session.parametrize(lambda name, weight: Gate(weight))
    session.train()
    for name, weight in session.weights.items():
        assert torch.equal(weight, before.state[name])
        assert not torch.equal(gates[name].gate, torch.ones_like(weight))


def test_parametrize_comes_before_the_first_update():
    session = make_session()
    session.train(until=1)
    with pytest.raises(SessionError, match="after the first update; call it before"):
        session.parametrize(lambda name, weight: Half())


def test_scores_in_another_precision_leave_nothing_behind():
    session = make_session()
    session.train(until=3)
    before, kinds = session.snapshot(), {name: v.dtype for name, v in session.model.state_dict().items()}
    batch = session.sample(20)
    with session.scoring(precision=torch.float64, training=True):
        logits = session.logits(batch.inputs)
        assert logits.dtype == torch.float64
        logits.sum().backward()
        assert session.weights["fc1.weight"].grad.dtype == torch.float64
        session.weights["fc1.weight"].data.zero_()
    assert {name: v.dtype for name, v in session.model.state_dict().items()} == kinds
    assert states_equal(session.snapshot().state, before.state)
    other = make_session()
    other.train()
    session.train()
    assert states_equal(session.snapshot().state, other.snapshot().state)


def test_logits_are_charged_like_a_pass():
    session = make_session()
    batch = session.sample(20)
    with session.scoring():
        session.logits(batch.inputs)
        session.loss(batch)
    assert [(event.kind, event.steps, event.examples) for event in session.account.ledger.events] == [("score", 0, 40)]


def test_inverted_pruning_keeps_the_lowest_scores():
    session, mirrored = make_session(), make_session()
    scores = {name: weight.detach().abs() for name, weight in session.weights.items()}
    with session.inverted():
        session.prune(scores)
    mirrored.prune({name: -score for name, score in scores.items()})
    assert states_equal(session.masks, mirrored.masks)
    assert max(float(scores[name][mask].max()) for name, mask in session.masks.items()) <= min(
        float(scores[name][~mask].min()) for name, mask in session.masks.items()
    )


def test_a_stretched_recipe_lasts_longer_in_all_its_parts():
    stretched = recipe(
        warmup=Duration("4it"), schedule="step", milestones=(Duration("50%"), Duration("2ep")), duration="10ep"
    ).stretched(1.5)
    assert (stretched.duration, stretched.warmup, stretched.milestones) == ("15.0ep", "6it", ("50%", "3.0ep"))
    session = make_session()
    session.stretch(2)
    session.train()
    assert (session.step, session.total_steps) == (60, 60)
    assert isinstance(session.recipe, Recipe) and session.recipe.duration == "60it"
    for factor in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="multiplied by a finite number"):
            session.stretch(factor)


def test_what_a_method_tells_of_its_search_is_handed_on(tmp_path):
    session = make_session(sparsity=0.0)
    session.note("explored", 0.25)
    session.train()
    session.finish()
    handed = hand_over(tmp_path / "x", outcome([session]))
    assert take(tmp_path / "x", handed).facts.notes == {"explored": 0.25}
