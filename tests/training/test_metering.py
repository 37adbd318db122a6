"""What a method computes in a loop over batches beside the network's own passes is on record, at its price."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lth_bench.data.examples import Batch, Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

BATCH, STEPS = 5, 8
FIRST, SECOND = 2 * 12, 2 * 6
PASS = BATCH * (FIRST + SECOND)  # FLOPs of a batch, forward
BACK = BATCH * (FIRST + 2 * SECOND)  # backward: nobody asks for gradients of the images
DISTANCE = nn.functional.mse_loss


class Two(nn.Module):
    """4 → 3 → 2 without biases."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.second(self.first(x).relu())


def session():
    data = Examples(torch.rand(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2)
    recipe = Recipe(Duration(f"{STEPS}it"), BATCH, 0.1, measure_every=Duration(f"{STEPS}it"))
    return Session(Setup(lambda seed: Two(), data, data, recipe, 0.5, 0))


def events(beside, until=None):
    """The events of a loop that calls `beside(session, batch)` in every tick for what it adds to the loss."""
    trained = session()
    with trained.account.metered():
        for batch in trained.batches(until):
            loss = trained.loss(batch)
            (loss + beside(trained, batch)).backward()
            trained.update()
    return trained.account.ledger.events


def measured(beside, ticks=STEPS):
    """FLOPs of extra work a tick."""
    charged = events(beside)
    found = {event.kind: event for event in charged}
    assert len(found) == len(charged), "one event a kind"
    train = found.pop("train")
    assert (train.steps, train.examples, train.flops) == (STEPS, STEPS * BATCH, 0)
    return found["extra"].flops / ticks if found else 0


TEACHER = Two()
WEIGHTS = {name: weight.detach() for name, weight in TEACHER.named_parameters()}


def silent(call):
    """A pass without gradients."""

    def beside(session, batch):
        with torch.no_grad():
            return call(session, batch.inputs).square().mean()

    return beside


@pytest.mark.parametrize(
    ("beside", "flops"),
    [
        (silent(lambda session, inputs: TEACHER(inputs)), PASS),
        (silent(lambda session, inputs: torch.func.functional_call(TEACHER, WEIGHTS, (inputs,))), PASS),
        (silent(lambda session, inputs: inputs @ WEIGHTS["first.weight"].T), BATCH * FIRST),
        (silent(lambda session, inputs: session.model(inputs)), PASS),
        (lambda session, batch: session.model(batch.inputs).square().mean(), PASS + BACK),
        (lambda session, batch: TEACHER(batch.inputs).square().mean(), PASS + BACK),
        (lambda session, batch: (session.weights["second.weight"] @ torch.ones(3, 1)).sum(), 2 * SECOND),
        (lambda session, batch: session.weights["second.weight"].abs().sum(), 0),
        (lambda session, batch: DISTANCE(session.logits(batch.inputs), torch.zeros(BATCH, 2)), None),
    ],
    ids=["teacher", "functional", "product", "own", "own, back", "teacher, back", "penalty", "elementwise", "own pass"],
)
def test_what_runs_in_every_tick_is_measured(beside, flops):
    if flops is None:  # two passes of the network in a tick are charged as such
        assert [(event.kind, event.examples) for event in events(beside)] == [("train", 2 * STEPS * BATCH)]
    else:
        assert measured(beside) == flops


class Wrapped(nn.Module):
    """A network that calls another in its forward pass."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs)


def in_a_hook(session, inputs):
    """A pass of a teacher that a module of the method calls when it is called."""
    outer, teacher = nn.Identity(), copy.deepcopy(session.model)
    outer.register_forward_hook(lambda module, given, made: teacher(made))
    return outer(inputs)


@pytest.mark.parametrize(
    "call",
    [
        lambda session, inputs: copy.deepcopy(session.model)(inputs),
        lambda session, inputs: Wrapped(copy.deepcopy(session.model)).eval()(inputs),
        lambda session, inputs: torch.func.vmap(copy.deepcopy(session.model))(inputs),
        lambda session, inputs: torch.utils.checkpoint.checkpoint(session.model, inputs, use_reentrant=False),
        in_a_hook,
    ],
    ids=["copy", "wrapped", "vmap", "checkpoint", "hook"],
)
def test_a_copy_of_the_network_is_charged_wherever_it_is_called(call):
    assert measured(silent(call)) == PASS


def test_a_teacher_is_charged_between_ticks_and_before_the_first_loss():
    trained = session()
    teacher = copy.deepcopy(trained.model)
    with trained.account.metered():
        for batch in trained.batches():
            teacher(batch.inputs)
            trained.loss(batch).backward()
            teacher(batch.inputs)
            trained.update()
            teacher(batch.inputs)
    assert [(event.kind, event.flops) for event in trained.account.ledger.events] == [
        ("extra", 3 * STEPS * PASS),
        ("train", 0),
    ]


def test_extra_work_is_one_event_whatever_kinds_of_ticks_it_lies_between():
    trained = session()
    with trained.account.metered():
        for batch in trained.batches():
            TEACHER(batch.inputs)
            if trained.step % 2:
                trained.dense_gradients(batch)
            trained.loss(batch).backward()
            trained.update()
    kinds = [event.kind for event in trained.account.ledger.events]
    assert kinds == ["extra", *["train", "dense_gradients"] * (STEPS // 2)]
    assert trained.account.ledger.events[0].flops == STEPS * PASS


def test_a_teacher_in_some_ticks_is_charged_for_these():
    def beside(session, batch):
        return silent(lambda session, inputs: TEACHER(inputs))(session, batch) if session.step % 3 == 2 else 0.0

    assert measured(beside, ticks=2) == PASS


def test_every_segment_has_one_event_of_extra_work():
    trained = session()
    with trained.account.metered():
        for sparsity in (0.25, 0.5):
            trained.prune({name: weight.detach().abs() for name, weight in trained.weights.items()}, sparsity)
            for batch in trained.batches(until=trained.step + 4):
                with torch.no_grad():
                    trained.model(batch.inputs)
                trained.loss(batch).backward()
                trained.update()
    one, other = (tuple(kept) for kept in {event.kept: None for event in trained.account.ledger.events})
    found = [(event.kind, event.step, event.steps, event.kept) for event in trained.account.ledger.events]
    assert found == [
        ("extra", 0, 0, one),
        ("train", 0, 4, one),
        ("extra", 4, 0, other),
        ("train", 4, 4, other),
    ]
    thin = [BATCH * (FIRST * first / 12 + SECOND * second / 6) for first, second in (one, other)]
    assert [event.sparse_flops for event in trained.account.ledger.events[::2]] == [4 * flops for flops in thin]


def test_a_second_backward_pass_through_the_network_is_measured():
    trained = session()
    with trained.account.metered():
        for batch in trained.batches():
            logits = trained.logits(batch.inputs)
            for column in (0, 1):
                logits[:, column].sum().backward(retain_graph=True)
            trained.update()
    assert [(event.kind, event.flops) for event in trained.account.ledger.events] == [
        ("extra", STEPS * BACK),
        ("train", 0),
    ]


def halves(batch):
    """Two halves of a batch."""
    for part in (slice(0, 2), slice(2, 5)):
        yield Batch(batch.inputs[part], batch.labels[part])


def penalty_first(trained, batch):
    loss = trained.loss(batch)
    trained.weights["second.weight"].abs().sum().backward()
    loss.backward()


def others_first(trained, batch):
    loss = trained.loss(batch)
    TEACHER(batch.inputs).square().mean().backward()
    loss.backward()


def in_another_order(trained, batch):
    one, other = [trained.loss(half) for half in halves(batch)]
    other.backward()
    one.backward()


def again_with_another(trained, batch):
    one = trained.loss(batch)
    one.backward(retain_graph=True)
    (one + trained.loss(batch)).backward()


def by_the_function(trained, batch):
    torch.autograd.backward(trained.loss(batch))
    torch.autograd.backward([TEACHER(batch.inputs).square().mean()])


@pytest.mark.parametrize(
    ("step", "flops", "passes"),
    [
        (penalty_first, 0, 1),
        (others_first, PASS + BACK, 1),
        (in_another_order, 0, 1),
        (again_with_another, BACK, 2),
        (by_the_function, PASS + BACK, 1),
    ],
)
def test_the_first_way_back_through_each_own_pass_is_charged_with_it(step, flops, passes):
    trained = session()
    with trained.account.metered():
        for batch in trained.batches():
            step(trained, batch)
            trained.update()
    found = {event.kind: (event.flops, event.examples) for event in trained.account.ledger.events}
    expected = {"train": (0, passes * STEPS * BATCH)} | ({"extra": (STEPS * flops, 0)} if flops else {})
    assert found == expected


def test_gradients_of_gradients_are_measured_and_first_ones_are_not():
    trained = session()
    weights = list(trained.weights.values())
    with trained.account.metered():
        for batch in trained.batches():
            slopes = torch.autograd.grad(trained.loss(batch), weights, create_graph=True)
            sum(slope.square().sum() for slope in slopes).backward()
            trained.update()
    extra, train = trained.account.ledger.events
    assert (train.kind, train.steps) == ("train", STEPS)
    assert extra.flops > STEPS * BACK, "back through both passes"


def test_the_second_network_of_a_method_is_charged_for_its_own_training():
    second = Two()
    optimizer = torch.optim.SGD(second.parameters(), 0.1)
    trained = session()
    with trained.account.metered():
        for batch in trained.batches():
            trained.loss(batch).backward()
            trained.update()
            optimizer.zero_grad()
            nn.functional.cross_entropy(second(batch.inputs), batch.labels).backward()
            optimizer.step()
    found = {event.kind: event.flops for event in trained.account.ledger.events}
    assert found == {"train": 0, "extra": STEPS * (PASS + BACK)}


def test_scores_in_a_loop_are_extra_work_whether_a_tick_is_open_or_not():
    trained = session()
    with trained.account.metered():
        for batch in trained.batches():
            with trained.scoring():
                trained.loss(batch).backward()
            trained.loss(batch).backward()
            trained.update()
            trained.loss(batch)
    found = [(event.kind, event.examples, event.flops) for event in trained.account.ledger.events]
    assert found == [("extra", 2 * STEPS * BATCH, STEPS * (PASS + BACK + PASS)), ("train", STEPS * BATCH, 0)]


def test_modes_of_torch_that_a_method_enters_hide_nothing_and_add_nothing():
    """A mode on top of the meter keeps it from being taken away during the network's own pass."""

    def beside(session, batch):
        with FlopCounterMode(display=False), torch.device("cpu"), torch.no_grad():
            TEACHER(batch.inputs)
        return 0.0

    assert measured(beside) == PASS
    trained = session()
    with trained.account.metered():
        for batch in trained.batches():
            with FlopCounterMode(display=False), torch.device("cpu"):
                loss = trained.loss(batch)
            loss.backward()
            trained.update()
    assert [event.kind for event in trained.account.ledger.events] == ["train"]


def test_metering_in_ticks_changes_no_bit_and_ends_with_the_loop():
    teacher = copy.deepcopy(TEACHER)
    ends = []
    for metered in (False, True):
        torch.manual_seed(0)
        trained = session()
        meter = trained.account.metered() if metered else torch.enable_grad()
        with meter:
            for batch in trained.batches(until=6):
                (trained.loss(batch) + DISTANCE(trained.model(batch.inputs), teacher(batch.inputs))).backward()
                trained.update()
                if trained.step == 5:
                    break
            assert torch._C._len_torch_function_stack() == 0, "a loop that was left is over"
        ends.append(trained.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert torch._C._len_torch_dispatch_stack() == 0


def test_a_method_that_fails_in_a_loop_leaves_no_meter_behind():
    trained = session()
    with pytest.raises(RuntimeError, match="stop"), trained.account.metered():
        for _ in trained.batches():
            raise RuntimeError("stop")
    assert torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack() == 0
