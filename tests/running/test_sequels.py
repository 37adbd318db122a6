"""Networks that are pruned as they are, and what follows their masks."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import After, Choice, Experiment, Planned
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe, Schedule
from lth_bench.experiments.weights import digest_of
from lth_bench.models.networks import make_network
from lth_bench.models.predictions import evaluate
from lth_bench.pruning.tickets import read_ticket
from lth_bench.results.costs import Shapes, training
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight
from lth_bench.running.run import run
from lth_bench.storage.record import identity
from lth_bench.storage.records import ticket_path
from lth_bench.storage.store import Store
from lth_bench.storage.work import RecordedEvent

PLUGINS = load_plugins()
NOTHING_TRAINED = Recipe(Duration("0it"), 60, 0.1, schedule="cosine")
TUNING = Recipe(Duration("8it"), 40, 0.02, momentum=0.9, measure_every=Duration("4it"))
AFTERS = {"nothing": After(), "batch norm": After(batch_norm=True), "tuning": After(recipe=TUNING)}
IMAGES = 1000  # two whole batches of the training split of digits
every_after = pytest.mark.parametrize("after", AFTERS.values(), ids=list(AFTERS))


def site(store=None, **weights):
    return Context(PLUGINS, None, torch.device("cpu"), store=store, weights=weights)


@pytest.fixture(scope="module", params=["lenet_300_100", "cifar_resnet20"])
def trained(request, tmp_path_factory):
    """The name of a model, the file of a network of it after some training, and its state."""
    plain = Experiment(Choice("digits"), Choice(request.param), replace(TUNING, duration=Duration("20it")), DENSE, 0, 0)
    session = site().session(plain)
    session.train()
    path = tmp_path_factory.mktemp("trained") / "a.safetensors"
    state = {name: value.clone() for name, value in session.model.state_dict().items()}
    safetensors.torch.save_file(state, path)
    return request.param, path, state


DENSE = Choice("dense")


def experiment(trained, pruner="magnitude", after=AFTERS["nothing"], **changes):
    name, path, _ = trained
    model = Choice(name, {"weights": digest_of(path)})
    sparsity = 0.0 if pruner == "dense" else 0.5
    plain = Experiment(Choice("digits"), model, NOTHING_TRAINED, Choice(pruner), sparsity, 0, after=after)
    return replace(plain, **changes)


def outcome(item, trained, directory, store=None):
    """The record of an experiment and the tensors of its ticket."""
    record = run(
        identity("s", Planned(item, "a", "r", False)), directory, site(store, **{digest_of(trained[1]): trained[1]})
    )
    ticket = record.ticket and read_ticket(ticket_path(directory, item.key), record.ticket.sha256)
    return record, ticket


def has_norms(trained):
    return any("running_mean" in name for name in trained[2])


def test_the_reference_row_is_the_checkpoint_as_it_is(trained, tmp_path):
    item = experiment(trained, "dense")
    record, ticket = outcome(item, trained, tmp_path)
    context = site()
    network = make_network(Choice(trained[0]), NOTHING_TRAINED, (1, 8, 8), 10, 5)
    network.load_state_dict(trained[2])
    assert record.test.last.accuracy == evaluate(network, context.test(item.dataset))[1]
    assert record.test.last.step == 0 and record.test.best_validation is record.test.early_stop is None
    assert record.events == [] and record.curve.step == []
    assert all(torch.equal(value, trained[2][name]) for name, value in ticket.final.items())


@every_after
@pytest.mark.parametrize("pruner", ["magnitude", "wanda", "lamp"])
def test_what_follows_keeps_the_mask_and_the_ticket(trained, pruner, after, tmp_path):
    if after.batch_norm and not has_norms(trained):
        return
    bare = outcome(experiment(trained, pruner), trained, tmp_path)[1]
    record, ticket = outcome(experiment(trained, pruner, after), trained, tmp_path)
    assert record.status == "done" and record.sparsity.measured == pytest.approx(0.5, abs=1e-4)
    assert all(torch.equal(mask, bare.masks[name]) for name, mask in ticket.masks.items())
    assert all(torch.equal(value, bare.start[name]) for name, value in ticket.start.items()) and ticket.step == 0
    assert all(not ticket.final[name][~mask].count_nonzero() for name, mask in ticket.masks.items())
    changed = {name for name, value in ticket.final.items() if not torch.equal(value, bare.final[name])}
    statistics = {name for name in trained[2] if "running_" in name or "num_batches" in name}
    assert changed == (set() if after == After() else statistics if after.batch_norm else set(trained[2]))
    calibration = [event.kind for event in record.events if event.kind == "score"]
    assert calibration == (["score"] if pruner == "wanda" else [])
    own = [(event.kind, event.step, event.steps, event.examples) for event in record.events if event.kind != "score"]
    assert own == [("recalibration", 0, 0, IMAGES)] * after.batch_norm + [("train", 0, 8, 320)] * bool(after.recipe)
    assert record.curve.step == ([4, 8] if after.recipe else [])
    assert record.test.last.step == (8 if after.recipe else 0)
    assert (record.test.best_validation is not None) == bool(after.recipe)


@every_after
def test_it_is_bit_identical_when_run_twice_and_from_the_store(trained, after, tmp_path):
    item = experiment(trained, "wanda", after)
    store = Store(tmp_path / "store")
    found = [outcome(item, trained, tmp_path / str(n), place) for n, place in enumerate([None, None, store, store])]
    if found[0][0].status == "failed":
        assert after.batch_norm and not has_norms(trained)
        return
    assert len({record.ticket.sha256 for record, _ in found}) == 1
    assert all(
        (r.events, r.curve, r.test) == (found[0][0].events, found[0][0].curve, found[0][0].test) for r, _ in found
    )
    looked_up = found[-1][0].timing.steps_looked_up
    assert looked_up == (8 if after.recipe else 0)


def test_both_phases_add_up(trained, tmp_path):
    item = experiment(trained, "wanda", AFTERS["tuning"], recipe=replace(TUNING, duration=Duration("6it")))
    record, ticket = outcome(item, trained, tmp_path)
    assert [(event.kind, event.step, event.steps, event.examples) for event in record.events] == [
        ("train", 0, 6, 240), ("score", 6, 0, 128), ("train", 0, 8, 320),
    ]  # fmt: skip
    assert record.curve.step == [4, 6, 4, 8] and record.ticket.step == 6
    assert record.timing.steps_computed == 14 and record.test.best_validation.step in (4, 8)
    assert all(not ticket.final[name][~mask].count_nonzero() for name, mask in ticket.masks.items())


def test_statistics_are_means_over_batches_of_training_images(tmp_path):
    model = Choice("cifar_resnet20")
    item = Experiment(Choice("digits"), model, NOTHING_TRAINED, DENSE, 0, 0, after=AFTERS["batch norm"])
    record = run(identity("s", Planned(item, "a", "r", False)), tmp_path, site())
    final = read_ticket(ticket_path(tmp_path, item.key), record.ticket.sha256).final
    session = site().session(item)
    means, variances = [], []
    for number in range(2):
        with torch.no_grad():
            seen = session.model.conv1(session.order.part(number, 500, ("batch norm",)).inputs)
        means.append(seen.mean((0, 2, 3)))
        variances.append(seen.transpose(0, 1).flatten(1).var(1))
    assert torch.allclose(final["norm1.running_mean"], torch.stack(means).mean(0), atol=1e-5)
    assert torch.allclose(final["norm1.running_var"], torch.stack(variances).mean(0), rtol=1e-4)


def test_recalibration_costs_forward_passes_alone():
    network = Shapes(["a"], [2.0], 20.0, 0.0, 0, 0, 0, 0, 0.0)
    event = RecordedEvent("recalibration", 0, 0, 7, [5])
    assert training(network, [event]) == (7 * 10.0, 7 * 20.0)


def test_a_network_without_batch_norm_is_refused_before_any_training(tmp_path):
    item = Experiment(Choice("digits"), Choice("lenet_300_100"), TUNING, DENSE, 0, 0, after=AFTERS["batch norm"])
    words = "after = 'batch_norm' takes new running statistics of batch norms, but this network has none; leave"
    (fault,) = preflight([item], site())
    assert fault.startswith(f"after: for 'lenet_300_100': {words}")
    record = run(identity("s", Planned(item, "a", "r", False)), tmp_path, site())
    assert record.error.kind == "unsuitable" and record.error.message.startswith(words)
    assert record.timing.steps_computed == 0


def test_a_recipe_that_does_not_fit_the_data_is_refused_before_any_training():
    after = After(recipe=replace(TUNING, batch_size=5000))
    item = Experiment(Choice("digits"), Choice("lenet_300_100"), TUNING, DENSE, 0, 0, after=after)
    (fault,) = preflight([item], site())
    assert fault.startswith("recipes: batch_size 5000 is more than the")


def test_weights_that_are_computed_from_fewer_numbers_are_not_trained_each_by_itself(tmp_path):
    item = Experiment(
        Choice("digits"), Choice("lenet_300_100"), NOTHING_TRAINED, Choice("lowrank"), 0.5, 0, after=AFTERS["tuning"]
    )
    record = run(identity("s", Planned(item, "a", "r", False)), tmp_path, site())
    assert record.error.kind == "unsuitable" and "from fewer numbers" in record.error.message


@pytest.mark.parametrize("name", sorted(set(PLUGINS.pruners.items) - {"dense"}))
def test_every_method_prunes_an_untrained_network_or_says_why_not(name, tmp_path):
    item = Experiment(Choice("digits"), Choice("lenet_300_100"), NOTHING_TRAINED, Choice(name), 0.5, 0)
    record = run(identity("s", Planned(item, "a", "r", False)), tmp_path, site())
    if record.status == "done":
        assert record.test.last.step == 0 and sum(event.steps for event in record.events) == 0
    else:
        assert record.error.kind == "unsuitable" and re.search(r"\w{3,} \w+ \w+", record.error.message)


def test_a_method_that_trains_steps_of_its_own_is_told_that_the_recipe_has_none(tmp_path):
    item = Experiment(
        Choice("digits"), Choice("lenet_300_100"), NOTHING_TRAINED, Choice("imp", {"rewind_to": "5it"}), 0.5, 0
    )
    record = run(identity("s", Planned(item, "a", "r", False)), tmp_path, site())
    assert record.error.kind == "unsuitable"
    assert record.error.message.startswith("the method trains until step 5, but the recipe lasts '0it' and trains")


@pytest.mark.parametrize(
    "fields", [{}, {"schedule": "cosine"}, {"schedule": "step", "milestones": (Duration("10%"), Duration("50%"))}]
)
def test_a_recipe_of_no_steps_has_a_learning_rate_that_never_falls(fields):
    schedule = Schedule(replace(Recipe(Duration("0it"), 60, 0.1, warmup=Duration("0it")), **fields), 20)
    assert schedule.total == 0 and not schedule.vanishes and 0 < schedule.rate(0) <= 0.1
    assert Schedule(Recipe(Duration("0it"), 60, 0.1, warmup=Duration("5ep")), 20).total == 0
