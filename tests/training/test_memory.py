"""Training that was done before is looked up, and nothing else changes by it."""

from __future__ import annotations

import copy
import dataclasses
from concurrent.futures.process import BrokenProcessPool
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lth_bench.training.memory
from lth_bench.errors import Busy, Diverged, Stopped
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import load_plugins
from lth_bench.methods.scores import chance, magnitude
from lth_bench.models.networks import make_network
from lth_bench.models.timm_models import register_models
from lth_bench.storage.sealed import read_json
from lth_bench.storage.store import Store
from lth_bench.storage.upkeep import collect, usage, verify
from lth_bench.training.memory import Memory, Watch
from lth_bench.training.numerics import numerics
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.fresh import fresh
from support.networks import RECIPES, examples, network, recipe
from support.stored import outcome, session, spent

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


PROGRAMMES = {
    "dense": ("dense", {}),
    "imp": ("imp", {"rate": 0.5}),
    "imp rewound": ("imp", {"rate": 0.5, "rewind_to": "3it"}),
    "imp by learning rate": ("imp", {"rate": 0.5, "rewind_to": "7it", "retraining": "learning_rate_rewinding"}),
    "magnitude": ("magnitude", {}),
    "magnitude rewound": ("magnitude", {"retraining": "weight_rewinding", "rewind_to": "4it"}),
    "snip": ("snip", {"examples": 20}),
    "random": ("random", {}),
}


@pytest.mark.parametrize(
    ("programme", "recipe"),
    [
        pytest.param(programme, recipe, id=f"{name}-{way}")
        for (name, programme), (way, recipe) in product(PROGRAMMES.items(), RECIPES.items())
        if not (name == "magnitude" and recipe.schedule == "cosine")  # it cannot fine-tune at a rate of zero
    ],
)
def test_everything_is_the_same_without_a_store_and_with_a_cold_and_a_warm_one(tmp_path, recipe, programme):
    store, outcomes, sessions = Store(tmp_path), [], []
    for use in (None, store, store):
        made = session(use, recipe, sparsity=0.0 if programme[0] == "dense" else 0.75)
        instantiate(load_plugins().pruners, *programme)(made)
        outcomes.append(outcome(made))
        sessions.append(made)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    steps = sum(event.steps for event in sessions[0].account.ledger.events)
    assert sum(spent(sessions[1])) == steps and spent(sessions[2]) == (0, steps)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_was_looked_up_goes_on_the_same_in_the_layout_channels_last(tmp_path, optimizer):
    options = dataclasses.replace(RECIPES[optimizer], channels_last=True, flip=True)
    register_models(load_plugins().models.items)

    def convolutions(seed):
        return make_network(Choice("cifar_resnet20", {"width": 0.25}), options, (1, 4, 4), 3, seed)

    ends = []
    for store in (None, Store(tmp_path), Store(tmp_path)):
        memory = Memory(store, {}) if store else None
        made = Session(Setup(convolutions, examples(70), examples(20, 1), options, 0.75, 0, memory))
        made.train(until=7)
        made.prune(magnitude(made))
        made.train(until=12)
        assert sum(int(w[~made.masks[name]].count_nonzero()) for name, w in made.weights.items()) == 0
        ends.append(outcome(made))
    assert ends[0] == ends[1] == ends[2] and spent(made) == (0, 12)


def test_what_was_looked_up_goes_on_without_torchs_preparations_of_a_step(tmp_path, monkeypatch):
    """More than ten parameters: the store keeps their state by name, and "10" comes before "2"."""

    def deep(seed):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(16, 16) for _ in range(8)]
        return torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(16, 3))

    for _ in range(2):
        memory = Memory(Store(tmp_path), {})
        made = Session(Setup(deep, examples(70), examples(20, 1), RECIPES["adam"], 0.5, 0, memory))
        made.train(until=7)
    assert spent(made) == (0, 7)
    monkeypatch.setattr(torch.optim.Adam, "step", None)
    made.train(until=9)
    assert spent(made) == (2, 7)


@every_recipe
@settings(max_examples=15, deadline=None)
@given(first=st.lists(st.integers(1, 30), max_size=3), then=st.lists(st.integers(1, 30), max_size=3))
def test_unbroken_training_meets_itself_however_it_is_cut(tmp_path_factory, recipe, first, then):
    store = Store(tmp_path_factory.mktemp("store"))
    plain = session(None, recipe)
    plain.train()
    one, other = session(store, recipe), session(store, recipe)
    for made, cuts in ((one, first), (other, then)):
        for until in sorted(cuts):
            made.train(until=until)
        made.train()
        assert outcome(made) == outcome(plain) if made is one else True
    assert outcome(other) == outcome(plain)
    assert spent(one) == (30, 0)
    new = [cut for cut in sorted(set(then)) if cut not in {*first, 30}]
    assert spent(other)[0] <= (new[-1] if new else 0), "only up to the last cut that is new"


def test_a_whole_run_serves_one_in_pieces_and_the_other_way_round(tmp_path):
    whole, pieces = session(Store(tmp_path / "a")), session(Store(tmp_path / "a"))
    whole.train()
    pieces.train(until=5)
    pieces.train()
    assert spent(pieces) == (5, 25)
    pieces, whole = session(Store(tmp_path / "b")), session(Store(tmp_path / "b"))
    pieces.train(until=5)
    pieces.train()
    whole.train()
    assert spent(whole) == (0, 30)


def test_a_prune_a_rewind_and_a_write_break_the_run(tmp_path):
    def pruned(made):
        made.prune(chance(made), 0.5)

    def rewound(made):
        made.rewind(made.snapshot())

    def written(made):
        made.weights["fc1.weight"].data[0, 0] += 1

    for number, change in enumerate((pruned, rewound, written)):
        store = Store(tmp_path / str(number))
        for use in (store, None):
            made = session(use)
            made.train(until=10)
            change(made)
            made.train()
            if use:
                stored = outcome(made)
        assert stored == outcome(made)
        dense = session(store)
        dense.train()
        assert spent(dense)[0] == 30, f"what was {change.__name__} is no plain run from the start"


def test_each_segment_of_nested_cuts_is_found_again(tmp_path):
    store = Store(tmp_path)
    for cuts in ((5, 10), (10, 15), (15,)):
        made = session(store)
        for until in cuts:
            made.train(until=until)
    assert spent(made) == (0, 15)


@every_recipe
@settings(max_examples=15, deadline=None)
@given(first=st.lists(st.integers(1, 30), max_size=20), then=st.lists(st.integers(1, 30), max_size=20))
def test_training_in_many_small_pieces_is_the_same_and_serves_the_whole(tmp_path_factory, recipe, first, then):
    store = Store(tmp_path_factory.mktemp("store"))
    plain = session(None, recipe)
    plain.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lth_bench.training.memory, "BRIEF", 4)
        for cuts in (first, then):
            made = session(store, recipe)
            for until in (*sorted(cuts), 30):
                made.train(until=until)
            assert outcome(made) == outcome(plain)
            assert sum(spent(made)) == 30
        whole = session(store, recipe)
        whole.train()
    assert outcome(whole) == outcome(plain) and spent(whole) == (0, 30)
    assert usage(store).counts["entries"] <= 2 * (2 + 2 * 5)


def test_brief_segments_are_stored_only_at_the_beginning(tmp_path):
    store = Store(tmp_path)
    for new in ((400, 0), (3, 397)):
        made = session(store, recipe(duration="400it"))
        for until in (3, 97, 100, 400):
            made.train(until=until)
        assert spent(made) == new


CHANGES = {
    "a mask": lambda made: made.prune(magnitude(made), 0.1),
    "a buffer": lambda made: made.model.norm.running_mean.add_(1),
    "another option of the optimiser": lambda made: made.optimizer.param_groups[0].update(weight_decay=0.5),
    "optimiser state": lambda made: made.optimizer.state[made.weights["fc1.weight"]]["momentum_buffer"].add_(1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_whatever_training_depends_on_is_part_of_the_key(tmp_path, change):
    store = Store(tmp_path)
    first = session(store)
    first.train(until=3)
    first.train(until=10)
    second = session(store)
    second.train(until=3)
    change(second)
    second.train(until=10)
    assert spent(second) == (7, 3)


def test_seed_and_recipe_are_part_of_the_key(tmp_path):
    store = Store(tmp_path)
    setup = Setup(network, examples(70), examples(20, 1), RECIPES["sgd"], 0.5, 0, None)
    for changed in ({}, {"seed": 1}, {"recipe": recipe(weight_decay=0.02)}):
        made = Session(dataclasses.replace(setup, memory=Memory(store, {}), **changed))
        made.model.load_state_dict(network(7).state_dict())
        made.train(until=5)
        assert spent(made) == (5, 0)


def test_data_model_and_numerics_are_part_of_the_key(tmp_path):
    for about in ({"data": "a"}, {"data": "b"}, {"data": "a", "model": "c"}):
        made = session(Store(tmp_path), **about)
        made.train(until=5)
        assert spent(made) == (5, 0)
    made = session(Store(tmp_path), data="a")
    made.train(until=5)
    assert spent(made) == (0, 5)
    before = numerics(torch.device("cpu"))
    try:
        torch.set_num_threads(2)
        assert numerics(torch.device("cpu")) != before
    finally:
        torch.set_num_threads(1)


def test_the_next_draw_of_the_global_stream_does_not_tell_a_hit_from_a_miss(tmp_path):
    draws = []
    for use in (None, Store(tmp_path), Store(tmp_path)):
        session(use).train()
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1] == draws[2]


def test_divergence_is_remembered(tmp_path):
    store, errors = Store(tmp_path), []
    for _ in range(2):
        made = session(store, recipe(learning_rate=1e30))
        with pytest.raises(Diverged) as error:
            made.train()
        errors.append(str(error.value))
    assert errors[0] == errors[1] and "step 5" in errors[0]
    assert spent(made) == (0, 5)


@every_recipe
@settings(max_examples=10, deadline=None)
@given(stop_at=st.integers(1, 29))
def test_a_stopped_segment_goes_on_from_its_checkpoint_bit_by_bit(tmp_path_factory, recipe, stop_at):
    store, watch = Store(tmp_path_factory.mktemp("store")), Watch()
    compute = Session.compute

    def stopping(self, until):
        compute(self, min(until, self.step + 1))
        watch.stopping = self.step == stop_at

    Session.compute = stopping
    made = session(store, recipe, watch=watch)
    try:
        with pytest.raises(Stopped):
            made.train()
        with pytest.raises(Stopped):
            made.finish()
    finally:
        Session.compute = compute
    again, plain = session(store, recipe), session(None, recipe)
    again.train()
    plain.train()
    assert outcome(again) == outcome(plain)
    assert spent(again) == (30 - stop_at, stop_at)
    assert "checkpoints" not in usage(store).counts


def test_checkpoints_are_written_while_a_segment_is_computed(tmp_path):
    made = session(Store(tmp_path), watch=Watch(checkpoint_every=0))
    written = []
    write = made._memory.segments.save
    made._memory.segments.save = lambda *arguments: (written.append(arguments[2:]), write(*arguments))
    made.train()
    assert [arguments[-1] for arguments in written].count("checkpoints") >= 2


def test_a_segment_that_another_computes_is_not_computed_twice(tmp_path):
    store = Store(tmp_path, patience=1000)
    first, second = session(store), session(store)
    busy = []
    compute = first._memory._compute

    def meanwhile(*arguments):
        with pytest.raises(Busy) as error:
            second.train()
        busy.append(error.value.key)
        return compute(*arguments)

    first._memory._compute = meanwhile
    first.train()
    assert len(busy) == 1 and not store.busy(busy[0])
    with pytest.raises(Busy):
        second.finish()
    third = session(store)
    third.train()
    assert spent(third) == (0, 30)


def test_a_segment_whose_worker_died_is_taken_over_at_once(tmp_path):
    script = (
        "import os\n"
        "from pathlib import Path; import torch\n"
        "from support.stored import session; from lth_bench.storage.store import Store\n"
        "torch.set_num_threads(1)\n"
        f"made = session(Store(Path({str(tmp_path)!r}), patience=1000))\n"
        "made._memory._compute = lambda *arguments: os._exit(9)\n"
        "made.train()"
    )
    with pytest.raises(BrokenProcessPool):
        fresh(exec, script, {})
    assert usage(Store(tmp_path)).counts == {"leases": 1}
    made = session(Store(tmp_path, patience=1000))
    made.train()
    assert spent(made) == (30, 0)
    assert "leases" not in usage(Store(tmp_path)).counts


def test_damage_is_noticed_set_aside_and_mended(tmp_path):
    store, plain = Store(tmp_path), session(None)
    session(store).train()
    plain.train()
    files = [path for folder in ("entries", "objects") for path in (tmp_path / folder).iterdir()]
    for path in files:
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[len(content) * 2 // 3] ^= 4
        for damaged in (bytes(flipped), content[: len(content) // 2], b"\0" * len(content), b""):
            path.write_bytes(damaged)
            made = session(store)
            made.train()
            assert outcome(made) == outcome(copy.copy(plain))
            assert spent(made) == (30, 0) and path.read_bytes() == content
    assert usage(store).counts["damaged"] == 4 * len(files)
    files[-1].write_bytes(b"0")
    assert verify(store).counts == {"objects": 1, "entries": 1}
    assert verify(store).counts == {}


def test_collecting_removes_only_what_nothing_needs(tmp_path):
    store = Store(tmp_path)
    for cut in (5, 9):
        made = session(store, sparsity=cut / 10)
        made.train(until=cut)
        made.train()
    assert collect(store).counts == {}
    before = usage(store)
    collect(store, largest=sum(before.sizes.values()) // 2)
    after = usage(store)
    assert 0 < sum(after.sizes.values()) <= sum(before.sizes.values()) // 2
    made, plain = session(store), session(None)
    made.train()
    plain.train()
    assert outcome(made) == outcome(plain)
    collect(store, largest=0)
    assert usage(store).counts == {}


def test_an_entry_says_what_it_is_in_plain_json(tmp_path):
    session(Store(tmp_path)).train()
    (path,) = (tmp_path / "entries").iterdir()
    entry = read_json(path)
    assert (entry["start"], entry["end"], entry["key"]) == (0, 30, path.stem)
    assert [point["step"] for point in entry["curve"]] == [5, 10, 15, 20, 25, 30]
