import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lth_bench.errors import Diverged, MaskError, SessionError, Unsuitable
from lth_bench.experiments.plugins import load_plugins
from lth_bench.methods.scores import chance, magnitude
from lth_bench.pruning.masks import full
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, examples, make_session, recipe, states_equal

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
few = settings(max_examples=15, deadline=None)


def state(session):
    return session.model.state_dict()


def outside(session):
    return sum(int(w[~session.masks[name]].count_nonzero()) for name, w in session.weights.items())


@every_recipe
@few
@given(sparsity=st.floats(0, 0.99), prune_at=st.integers(0, 10))
def test_pruned_weights_are_exactly_zero_after_every_step(recipe, sparsity, prune_at):
    session = make_session(recipe)
    session.train(until=prune_at)
    session.prune(magnitude(session), sparsity)
    for batch in session.batches():
        session.loss(batch).backward()
        session.update()
        assert outside(session) == 0
        for name, weight in session.weights.items():
            for value in session.optimizer.state[weight].values():
                if value.shape == weight.shape:
                    assert value[~session.masks[name]].count_nonzero() == 0


@every_recipe
@few
@given(middle=st.integers(0, 30), other=st.integers(0, 30))
def test_training_in_pieces_is_bit_identical(recipe, middle, other):
    whole, pieces = make_session(recipe), make_session(recipe)
    whole.train()
    for until in sorted((middle, other)):
        pieces.train(until=until)
    pieces.train()
    assert states_equal(state(whole), state(pieces))
    assert whole.course.monitor.curve == pieces.course.monitor.curve
    assert whole.account.ledger.events == pieces.account.ledger.events


@every_recipe
@few
@given(k=st.integers(0, 30), sparsity=st.floats(0, 0.9))
def test_rewinding_replays_the_same_training(recipe, k, sparsity):
    session = make_session(recipe)
    session.train(until=k)
    session.prune(chance(session), sparsity)
    start = session.snapshot()
    session.train()
    first, curve = copy.deepcopy(state(session)), session.course.monitor.curve[:]
    session.rewind(start)
    session.train()
    assert states_equal(first, state(session))
    assert session.course.monitor.curve[len(curve) :] == [point for point in curve if point.step > k]


def test_rewind_replays_the_same_batches():
    session = make_session()
    first = []
    start = session.snapshot()
    for batch in session.batches(until=10):
        first.append(batch.inputs)
        session.loss(batch).backward()
        session.update()
    session.rewind(start)
    for batch, expected in zip(session.batches(until=10), first, strict=True):
        assert torch.equal(batch.inputs, expected)


def test_rewind_keeps_the_masks_of_today():
    session = make_session()
    start = session.snapshot()
    session.train()
    session.prune(magnitude(session), 0.7)
    masks = session.masks
    session.rewind(start)
    for name, weight in session.weights.items():
        assert torch.equal(session.masks[name], masks[name])
        assert torch.equal(weight, start.state[name] * masks[name])


def test_the_same_seed_repeats_and_another_differs():
    sessions = [make_session(seed=seed) for seed in (3, 3, 4)]
    for session in sessions:
        session.train()
    same, again, other = map(state, sessions)
    assert states_equal(same, again)
    assert not states_equal(same, other)


def test_methods_with_one_seed_see_the_same_batches_from_the_same_weights():
    one, other = make_session(sparsity=0.5), make_session(sparsity=0.9)
    chance(other)
    assert states_equal(state(one), state(other))
    for a, b in zip(one.batches(until=5), other.batches(until=5), strict=True):
        assert torch.equal(a.inputs, b.inputs)


def test_the_global_random_state_has_no_influence():
    calm, disturbed = make_session(), make_session()
    calm.train()
    for batch in disturbed.batches():
        disturbed.loss(batch).backward()
        disturbed.update()
        torch.rand(7)
    assert states_equal(state(calm), state(disturbed))


def test_an_epoch_shows_every_example_at_most_once():
    session = make_session()
    batches = [batch.inputs for batch in session.batches(until="1ep")]
    assert len(batches) == 7
    rows = torch.cat(batches).flatten(1)
    assert len(rows.unique(dim=0)) == 70


@few
@given(step=st.integers(0, 12), training=st.booleans())
def test_scoring_leaves_everything_untouched(step, training):
    session = make_session()
    session.train(until=step)
    for number, batch in enumerate(session.batches(until=step + 2)):
        session.loss(batch).backward()
        weights, modes = copy.deepcopy(state(session)), [m.training for m in session.model.modules()]
        gradients = [p.grad.clone() for p in session.model.parameters()]
        random, method = torch.get_rng_state(), session.rng.get_state()
        with session.scoring(training=training):
            session.loss(session.sample(20, number)).backward()
            for parameter in session.model.parameters():
                parameter.data.abs_()
        assert states_equal(weights, state(session))
        assert modes == [m.training for m in session.model.modules()]
        assert all(torch.equal(g, p.grad) for g, p in zip(gradients, session.model.parameters(), strict=True))
        assert torch.equal(random, torch.get_rng_state())
        assert torch.equal(method, session.rng.get_state())
        session.update()


def test_scoring_is_undone_when_it_raises():
    session = make_session()
    before = copy.deepcopy(state(session))
    with pytest.raises(ZeroDivisionError), session.scoring():
        session.weights["fc1.weight"].data.zero_()
        _ = 1 / 0
    assert states_equal(before, state(session))


def test_samples_are_pure_and_balanced_samples_are_balanced():
    session = make_session()
    assert torch.equal(session.sample(9).inputs, session.sample(9).inputs)
    assert not torch.equal(session.sample(9).inputs, session.sample(9, round=1).inputs)
    assert session.balanced_sample(4).labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(session.sample(70).labels) == 70
    assert len(session.balanced_sample(23).labels) == 69


def test_more_examples_to_score_on_than_there_are_make_a_method_unsuitable():
    session = make_session()
    with pytest.raises(Unsuitable, match=r"draws 71 examples .* only 70 for training: let it draw fewer"):
        session.sample(71)
    with pytest.raises(Unsuitable, match=r"draws 24 examples of each class .* class 1 has only 23 for training"):
        session.balanced_sample(24)
    for draw in (session.sample, session.balanced_sample):
        with pytest.raises(ValueError, match="cannot draw 0 examples; draw at least one") as error:
            draw(0)
        assert not isinstance(error.value, Unsuitable), "which is the method's own fault"


def test_validation_is_measured_by_the_clock_and_never_where_a_segment_ends():
    session = make_session(recipe(duration="13it", measure_every="5it"))
    session.train(until=7)
    session.train()
    assert [point.step for point in session.course.monitor.curve] == [5, 10, 13]


def test_best_points_count_only_after_the_last_rewind_under_the_final_masks():
    session = make_session()
    start = session.snapshot()
    session.train()
    session.prune(magnitude(session))
    assert session.course.monitor.early_stop is None
    session.rewind(start)
    session.train(until=10)
    assert session.course.monitor.early_stop.measurement.step in (5, 10)
    assert session.course.monitor.early_stop.measurement.kept == 156


def test_the_ticket_is_the_state_at_which_the_final_mask_took_force():
    session = make_session()
    session.train(until=4)
    start = session.snapshot()
    session.train()
    session.prune(magnitude(session))
    session.rewind(start)
    session.train()
    session.finish()
    assert session.course.ticket.step == 4
    for name, mask in session.masks.items():
        assert torch.equal(session.course.ticket.state[name], start.state[name] * mask)


def test_a_prune_inside_a_tick_takes_force_there():
    session = make_session()
    for batch in session.batches():
        if session.step == 5:
            session.prune(magnitude(session))
            pruned = copy.deepcopy(state(session))
        session.loss(batch).backward()
        session.update()
    session.finish()
    assert session.course.ticket.step == 5
    assert states_equal(session.course.ticket.state, pruned)


def test_a_snapshot_from_later_can_be_gone_back_to():
    session = make_session()
    start = session.snapshot()
    session.train()
    trained, end = copy.deepcopy(state(session)), session.snapshot()
    session.rewind(start)
    session.rewind(end)
    assert session.step == 30 and states_equal(trained, state(session))


def test_a_pass_that_ends_in_no_update_is_charged_all_the_same():
    session = make_session()
    for batch in session.batches():
        session.loss(batch).backward()
        break
    assert [(event.kind, event.steps, event.examples) for event in session.account.ledger.events] == [("train", 0, 10)]


def test_fine_tuning_goes_on_at_the_last_learning_rate():
    session = make_session(RECIPES["adam"])
    session.train()
    last = session.optimizer.param_groups[0]["lr"]
    session.train(until=35)
    assert session.step == 35
    assert session.optimizer.param_groups[0]["lr"] == last > 0


def test_learning_rate_rewinding_replays_the_schedule_on_the_trained_weights():
    session = make_session(RECIPES["adam"])
    session.train()
    trained = copy.deepcopy(state(session))
    session.rewind_clock(10)
    assert states_equal(trained, state(session))
    session.train(until=11)
    fresh = make_session(RECIPES["adam"])
    fresh.train(until=11)
    assert session.optimizer.param_groups[0]["lr"] == fresh.optimizer.param_groups[0]["lr"]


def test_rewiring_gives_birth_at_zero_and_ends_the_tick():
    session = make_session()
    session.prune(chance(session), 0.5)
    session.train(until=3)
    before = session.masks
    swapped = {name: ~mask for name, mask in before.items()}
    for batch in session.batches(until=5):
        gradients = session.dense_gradients(batch)
        assert all(gradient[~before[name]].count_nonzero() for name, gradient in gradients.items())
        session.rewire(swapped)
        assert all(w.count_nonzero() == 0 for w in session.weights.values())
        break
    assert session.step == 4
    session.train(until=6)
    assert outside(session) == 0
    assert [event.kind for event in session.account.ledger.events] == ["train", "dense_gradients", "train"]


def test_adopting_masks_prunes_by_them():
    session, other = make_session(), make_session(seed=1)
    other.prune(chance(other))
    session.adopt(other.masks)
    assert states_equal(session.masks, other.masks)
    assert outside(session) == 0


def test_redrawing_changes_the_weights_and_keeps_the_masks():
    session = make_session()
    before = copy.deepcopy(state(session))
    session.prune(chance(session))
    masks = session.masks
    session.redraw()
    assert states_equal(masks, session.masks)
    weight, mask = session.weights["fc1.weight"], masks["fc1.weight"]
    assert session.step == 0 and outside(session) == 0
    assert not (weight[mask] == before["fc1.weight"][mask]).any()


def test_events_count_what_was_done():
    session = make_session()
    with session.scoring():
        session.loss(session.sample(17)).backward()
    session.train(until=5)
    session.prune(magnitude(session))
    session.train(until=8)
    seen = [
        (event.kind, event.step, event.steps, event.examples, sum(event.kept))
        for event in session.account.ledger.events
    ]
    assert seen == [("score", 0, 0, 17, 312), ("train", 0, 5, 50, 312), ("train", 5, 3, 30, 156)]


REFUSED_IN_SCORING = {
    "train": lambda session: session.train(),
    "batches": lambda session: next(session.batches()),
    "prune": lambda session: session.prune(magnitude(session)),
    "adopt": lambda session: session.adopt(full(session.weights)),
    "parametrize": lambda session: session.parametrize(lambda layer, weight: nn.Identity()),
    "bake": lambda session: session.bake(),
    "snapshot": lambda session: session.snapshot(),
    "rewind": lambda session: session.rewind(session.course.ticket),
    "rewind_clock": lambda session: session.rewind_clock(0),
    "stretch": lambda session: session.stretch(2.0),
    "update": lambda session: session.update(),
    "rewire": lambda session: session.rewire(session.masks),
    "returning from the pruner": lambda session: session.finish(),
}


def everything(session):
    """All that a pruner could change by way of the Session."""
    optimizer = copy.deepcopy(session.optimizer.state_dict()) if session.optimizer else None
    points = session.course.monitor.accurate, session.course.monitor.resets, session.course.ticket
    parameters = [(value.requires_grad, value.grad) for value in session.model.parameters()]
    modes = [module.training for module in session.model.modules()]
    masked = {name: mask.clone() for name, mask in session.masks.items()}
    return (
        (copy.deepcopy(state(session)), masked, optimizer, session.step, session.total_steps, modes, parameters),
        (session.rng.get_state(), torch.get_rng_state(), session.optimizer, points),
    )


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or one == other


@pytest.mark.parametrize("trained", [0, 7])
@pytest.mark.parametrize("call", REFUSED_IN_SCORING)
def test_what_scoring_cannot_undo_is_refused_at_once_and_changes_nothing(call, trained):
    session = make_session()
    session.train(until=trained)
    before = everything(session)
    words = rf"^{call}.* inside scoring\(\), where everything is undone"
    with pytest.raises(SessionError, match=words), session.scoring():
        REFUSED_IN_SCORING[call](session)
    assert same(everything(session), before)


def test_a_loop_does_not_go_on_inside_scoring():
    session = make_session()
    batches = session.batches()
    next(batches)
    with pytest.raises(SessionError, match=r"the next batch of batches\(\) inside scoring"), session.scoring():
        next(batches)


@pytest.mark.parametrize("precision", [None, torch.float64])
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_everything_else_is_undone_by_scoring(precision, sparsity):
    session = make_session()
    session.prune(chance(session), sparsity)
    session.train(until=7)
    session.model.norm.register_buffer("hidden", torch.full((2,), 0.5), persistent=False)
    session.model.norm.register_buffer("whole", torch.arange(3), persistent=False)
    before, hidden = everything(session), session.model.norm.hidden
    with session.scoring(training=True, precision=precision):
        session.redraw(3)
        drawn = session.weights["fc1.weight"].detach().float()
        assert not drawn[~session.masks["fc1.weight"]].any(), "under the masks of today"
        session.loss(session.sample(10)).backward()
        if precision is None:  # else gradients and optimiser state are of different types
            session.optimizer.step()
        session.optimizer.param_groups[0]["lr"] = 17.0
        session.optimizer = torch.optim.RMSprop(session.model.parameters())
        session.optimizer.step()
        session.model.norm.hidden.mul_(3)
        session.model.norm.whole.add_(1)
        next(session.model.parameters()).requires_grad = False
        session.model.eval()
        torch.manual_seed(3)
    assert same(everything(session), before)
    assert session.model.norm.hidden is hidden and hidden.tolist() == [0.5, 0.5]
    assert session.model.norm.whole.tolist() == [0, 1, 2]


class Buffered(nn.Module):
    """Buffers of all kinds that the forward pass uses, few of them part of the state; two layers share one."""

    def __init__(self):
        super().__init__()
        self.inner, self.fc = nn.Module(), nn.Linear(16, 3)
        scale = torch.linspace(0.5, 1, 16)
        self.register_buffer("scale", scale, persistent=False)
        self.inner.register_buffer("scale", scale, persistent=False)
        self.register_buffer("places", torch.arange(16).flip(0), persistent=False)
        self.register_buffer("open", torch.arange(16) > 2, persistent=False)
        self.register_buffer("turn", torch.full((16,), 1 + 2j), persistent=False)
        self.register_buffer("small", torch.full((16,), 0.5, dtype=torch.float16), persistent=False)
        self.register_buffer("shift", torch.full((16,), -0.5))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]).repeat(8))
        self.register_buffer("lowest", torch.tensor(torch.inf))

    def forward(self, x):
        x = (x.flatten(1) * self.scale)[:, self.places].masked_fill(~self.open, 0.0)
        return self.fc(x * (self.turn * self.inner.scale).imag + self.shift + self.small.to(x.dtype) + self.mask.exp())


def buffered_session():
    return Session(Setup(lambda seed: Buffered(), examples(70), examples(20, 1), RECIPES["sgd"], 0.5, 0))


@pytest.mark.parametrize("precision", [None, torch.float64, torch.float32])
def test_scoring_gives_back_buffers_of_every_kind(precision):
    session = buffered_session()
    objects = dict(session.model.named_buffers(remove_duplicate=False))
    before = {name: (buffer.dtype, buffer.clone()) for name, buffer in objects.items()}
    with session.scoring(precision=precision):
        assert session.logits(session.sample(5).inputs).dtype == (precision or torch.float32)
        for buffer in session.model.buffers():
            buffer.zero_()
        session.model.small = session.model.small[:3]
    after = dict(session.model.named_buffers(remove_duplicate=False))
    assert after.keys() == objects.keys()
    for name, buffer in after.items():
        assert buffer is objects[name]
        assert buffer.dtype == before[name][0] and torch.equal(buffer, before[name][1])
    session.train()
    session.finish()


def test_synaptic_flow_through_buffers_of_every_kind():
    session = buffered_session()
    session.model.fc.weight.data.fill_(-2.0)
    scores = load_plugins().pruners["synflow"]().scores(session)
    # Every input is one. `shift` enters as 0.5, though it is negative, and `mask` as exp(0) = 1 or exp(-inf) = 0.
    scale = torch.linspace(0.5, 1, 16, dtype=torch.float64)
    flow = scale.flip(0) * (torch.arange(16) > 2) * 2 * scale + 1 + (torch.arange(16) % 2 == 0)
    torch.testing.assert_close(scores["fc.weight"], (2 * flow).expand(3, 16), rtol=1e-6, atol=0)
    session.prune(scores)
    session.train()


def test_scoring_in_another_precision_costs_as_much_of_every_layer():
    def cost(precision):
        session = make_session()
        session.prune(chance(session), 0.5)
        with session.scoring(precision=precision):
            session.loss(session.sample(10)).backward()
        (event,) = session.account.ledger.events
        return event.flops, event.sparse_flops

    assert cost(torch.float64) == cost(None)
    assert cost(None)[1] < cost(None)[0]


def test_redrawing_inside_scoring_gives_the_weights_that_redrawing_gives():
    session, other = make_session(), make_session()
    other.redraw(2)
    with session.scoring():
        session.redraw(2)
        assert states_equal(copy.deepcopy(state(session)), copy.deepcopy(state(other)))


def kaiming(session, generator):
    for weight in session.weights.values():
        nn.init.kaiming_normal_(weight.data, generator=generator)


@pytest.mark.parametrize("precision", [None, torch.float64])
@pytest.mark.parametrize("training", [False, True])
def test_many_draws_of_weights_inside_scoring_leave_nothing_behind(training, precision):
    session, other = make_session(), make_session()
    session.prune(chance(session))
    other.adopt(session.masks)
    for each in (session, other):
        each.train(until=7)
    before, drawn = everything(session), []
    with session.scoring(training=training, precision=precision):
        for round in (1, 2, 1):
            session.redraw(round)
            drawn.append(copy.deepcopy(state(session)))
            with session.scoring(training=training):
                kaiming(session, torch.Generator().manual_seed(round))
                session.redraw(9)
                session.loss(session.sample(10, round)).backward()
            assert states_equal(drawn[-1], state(session)), "the inner scoring is undone"
            session.loss(session.sample(10, round)).backward()
            assert outside(session) == 0
        noise = torch.rand(3)
    assert states_equal(drawn[0], drawn[2]) and not states_equal(drawn[0], drawn[1])
    assert same(everything(session), before)
    with other.scoring(training=training, precision=precision):
        for round in (1, 2, 1):
            with other.scoring(training=training):
                other.loss(other.sample(10, round)).backward()
            other.loss(other.sample(10, round)).backward()
        assert torch.equal(noise, torch.rand(3)), "drawing weights draws from no stream of the passes"
    assert session.account.ledger.events == other.account.ledger.events, "and costs nothing"
    for each in (session, other):
        each.train()
    assert states_equal(state(session), state(other))


def test_draws_inside_scoring_leave_computed_weights_alone():
    class Scaled(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.scale = nn.Parameter(torch.full_like(weight, 0.5))

        def forward(self, weight):
            return weight * self.scale

    session = make_session()
    session.parametrize(lambda layer, weight: Scaled(weight))
    session.train(until=7)
    before = everything(session)
    with session.scoring():
        for seed in range(3):
            kaiming(session, torch.Generator().manual_seed(seed))
            session.loss(session.sample(10, seed)).backward()
        with pytest.raises(SessionError, match=r"^redraw\(\) while modules compute weights; call it before"):
            session.redraw()
    assert same(everything(session), before)


def test_the_parts_of_a_session_are_read_through_it():
    session = make_session()
    for name in ("step", "recipe", "schedule", "total_steps", "weights", "masks", "channels", "seed"):
        with pytest.raises(AttributeError):
            setattr(session, name, getattr(session, name))
    assert len(vars(session)) <= 30


@pytest.mark.parametrize("call", ["snapshot", "train", "redraw", "finish"])
def test_what_has_no_meaning_inside_a_loop_is_refused(call):
    session = make_session()
    with pytest.raises(SessionError, match="inside an open loop"):
        for _ in session.batches():
            getattr(session, call)()


def test_misuse_is_refused_with_a_sentence():
    session = make_session()
    with pytest.raises(SessionError, match="outside a tick"):
        session.update()
    with pytest.raises(SessionError, match=r"rewire\(\) outside a loop over batches\(\)"):
        session.rewire(session.masks)
    session.train(until=10)
    with pytest.raises(SessionError, match="until step 5: the clock stands at 10"):
        session.train(until=5)
    with pytest.raises(SessionError, match="cannot rewind the clock to step 11"):
        session.rewind_clock(11)
    with pytest.raises(MaskError, match="leave no weight at all"):
        session.prune(magnitude(session), 0.9999)
    with pytest.raises(ValueError, match="a duration reads"):
        session.train(until="5 epochs")
    session.model.fc1.weight.requires_grad_(False)
    with pytest.raises(SessionError, match="what is trainable has changed"):
        session.train()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (torch.tensor(3), 3),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor([True, False]), [True, False]),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (np.float32(0.25), 0.25),
        (np.int64(7), 7),
        (np.array([1.5, 2.0]), [1.5, 2.0]),
        (np.str_("early"), "early"),
        ([torch.tensor(1.0), np.int8(2), 3], [1.0, 2, 3]),
        ((1, "a"), [1, "a"]),
        ("text", "text"),
        ([], []),
    ],
)
def test_a_note_holds_plain_values(value, plain):
    session = make_session()
    session.note("fact", value)
    kept = session.notes["fact"]
    assert kept == plain
    pairs = zip(kept, plain, strict=True) if isinstance(plain, list) else [(kept, plain)]
    assert all(type(one) is type(other) for one, other in pairs)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "'fact' holds nan; wanted a finite number, a text or a list of these"),
        (torch.tensor([1.0, torch.inf]), "'fact' holds inf"),
        (torch.ones(2, 2), "'fact' has more than one dimension"),
        ([[1.0], [2.0]], "'fact' has more than one dimension"),
        ([torch.ones(2)], "'fact' has more than one dimension"),
        (torch.tensor(1j), "'fact' holds a value of type 'complex'"),
        (None, "'fact' holds a value of type 'NoneType'"),
        ({"fc1": 0.5}, "'fact' holds a value of type 'dict'"),
        (nn.Identity(), "'fact' holds a value of type 'Identity'"),
        (2**64, "'fact' holds an integer of more than 64 bits"),
        ("\ud800", "half of a surrogate pair"),
    ],
)
def test_a_note_that_no_record_can_hold_is_refused_at_once_by_name(value, words):
    session = make_session()
    with pytest.raises(SessionError, match=words):
        session.note("fact", value)
    assert session.notes == {}


def test_the_name_of_a_note_is_a_text():
    with pytest.raises(SessionError, match="name of a note must be a text, not 3"):
        make_session().note(3, "text")


WRONG_TYPES = {
    "scores in a list": (lambda s: s.prune(list(magnitude(s).values())), "scores must be a dict of tensors.* 'list'"),
    "scores in arrays": (
        lambda s: s.prune({name: score.numpy() for name, score in magnitude(s).items()}),
        "scores of layer 'fc1.weight' must be a tensor.* 'ndarray'; convert it by torch.as_tensor",
    ),
    "no masks": (lambda s: s.adopt(None), "masks must be a dict of tensors.* 'NoneType'"),
    "channel scores in a list": (lambda s: s.prune_channels([torch.ones(12)]), "scores must be a dict of tensors"),
    "no snapshot": (lambda s: s.rewind(None), r"rewind\(\) goes back to what snapshot\(\) returned.* 'NoneType'"),
    "a step for a snapshot": (lambda s: s.rewind(0), r"'int'; take a snapshot .* or .* rewind_clock"),
    "a parametrisation that is no module": (
        lambda s: s.parametrize(lambda layer, weight: weight.abs),
        r"for layer 'fc1\.weight' .* returned a value of type 'builtin_function_or_method', not an nn\.Module",
    ),
    "one module for all weights": (lambda s: s.parametrize(nn.Identity()), r"takes a function of .* 'Identity'; write"),
}


@pytest.mark.parametrize("call", WRONG_TYPES)
@pytest.mark.parametrize("inverted", [False, True])
def test_values_of_a_wrong_type_are_refused_with_a_sentence_and_change_nothing(call, inverted):
    session = make_session()
    before = copy.deepcopy(state(session))
    wrong, words = WRONG_TYPES[call]
    with session.inverted() if inverted else nullcontext(), pytest.raises((SessionError, MaskError), match=words):
        wrong(session)
    assert states_equal(before, state(session))
    session.train()


def test_breaking_out_of_a_loop_leaves_the_session_usable():
    session = make_session()
    for batch in session.batches():
        session.loss(batch).backward()
        session.update()
        if session.step == 3:
            break
    assert session.step == 3
    session.train(until=6)
    whole = make_session()
    whole.train(until=6)
    assert states_equal(state(session), state(whole))


class Skipping(nn.Module):
    """A layer that takes part in every third pass, and a head that takes part in none."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed % 1000)
        self.first, self.second, self.third = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.unused, self.passes = nn.Linear(8, 4), 0

    def forward(self, x):
        x = self.first(x.flatten(1)).relu()
        self.passes += self.training
        return self.third(x + self.second(x).relu() if self.passes % 3 == 1 else x)


@pytest.mark.parametrize("name", RECIPES)
def test_a_gradient_that_no_pass_has_reached_is_zero(name):
    data = examples(40)
    session = Session(Setup(Skipping, data, data, RECIPES[name], 0.5, 0))
    with session.scoring():
        session.loss(session.sample(4)).backward()
        assert all(weight.grad is not None for weight in session.weights.values())
        assert not session.weights["unused.weight"].grad.any()
    for batch in session.batches(until=7):
        assert not session.dense_gradients(batch)["unused.weight"].any()
        session.loss(batch).backward()
        session.update()
    session.prune(magnitude(session))
    session.train()
    assert session.step == session.total_steps and outside(session) == 0


def test_divergence_is_noticed_with_its_step():
    session = make_session(recipe(learning_rate=1e30))
    with pytest.raises(Diverged) as error:
        session.train()
    assert error.value.step == 5
    session = make_session()
    session.train()
    session.weights["fc1.weight"].data[0, 0] = float("nan")
    with pytest.raises(Diverged, match=r"values of 'fc1\.weight' that are not finite at step 30"):
        session.finish()


def test_a_buffer_that_is_infinite_from_the_start_is_no_divergence():
    session = buffered_session()
    session.train()
    session.finish()
    session.model.lowest.fill_(0.1)
    session.finish()
    session.model.mask[0] = -torch.inf
    with pytest.raises(Diverged, match="values of 'mask' that are not finite"):
        session.finish()


def test_a_mask_that_was_written_to_is_refused():
    session = make_session()
    session.prune(magnitude(session), 0.5)
    session.masks["fc1.weight"][0] = False
    for call in (session.train, session.finish, lambda: next(session.batches())):
        with pytest.raises(SessionError, match=r"'fc1\.weight' was written to"):
            call()


def test_steps_may_be_integers_of_any_kind():
    session = make_session()
    session.train(until=np.int64(10))
    session.rewind_clock(np.int64(5))
    assert type(session.step) is int
    with pytest.raises(TypeError):
        session.train(until=7.5)
