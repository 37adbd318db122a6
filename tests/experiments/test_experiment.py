import dataclasses
import json

import pytest

from lth_bench.experiments.choices import choice
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment, Origin
from lth_bench.experiments.plan import plan, read_suite, weight_folders
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe, Schedule
from lth_bench.storage.record import builtins, decoder

RECIPE = Recipe(Duration("4000it"), 60, 0.0012, optimizer="adam", measure_every=Duration("100it"))
DENSE = Experiment(Choice("mnist"), Choice("lenet_300_100"), RECIPE, Choice("dense"), 0.0, 0)
SGD = Recipe(Duration("10ep"), 60, 0.1)
IMP = dataclasses.replace(DENSE, pruner=Choice("imp", {"scope": "layer", "output_rate": 0.1}), sparsity=0.9641, seed=2)
TRANSFER = dataclasses.replace(IMP, control=Choice("transfer"), origin=Origin(Choice("fashion_mnist"), SGD))
READ = decoder(Experiment)


@pytest.mark.parametrize(
    ("experiment", "key"),
    [
        (DENSE, "b3ec894ee6549b5552e3"),
        (IMP, "4a84fac1221fff41079a"),
        (dataclasses.replace(IMP, control=Choice("redraw")), "6b512b05b3d7a7bf3e04"),
        (
            dataclasses.replace(
                DENSE, model=Choice("test_resnet", {"zero_init_last": False}), dataset=Choice("digits")
            ),
            "dabe6babf6c1e9f36086",
        ),
        (TRANSFER, "f3c849afde5705d3b6ba"),
    ],
)
def test_keys_never_change(experiment, key):
    assert experiment.key == key


def test_fields_at_their_default_do_not_enter_the_key():
    explicit = dataclasses.replace(RECIPE, momentum=0.0, schedule="constant")
    assert dataclasses.replace(DENSE, recipe=explicit).key == DENSE.key
    registry = load_plugins().pruners
    assert choice(registry, "imp", {"rate": 0.2, "rewind_to": "0it"}) == choice(registry, "imp", {}) == Choice("imp")


def test_every_field_that_differs_changes_the_key():
    changes = [
        {"seed": 1},
        {"sparsity": 0.5},
        {"protocol": 2},
        {"control": Choice("redraw")},
        {"control": Choice("redraw"), "origin": Origin(Choice("digits"))},
        {"control": Choice("redraw"), "origin": Origin(recipe=SGD)},
        {"dataset": Choice("digits")},
    ]
    changes += [{"pruner": Choice("dense", revision=2)}, {"recipe": dataclasses.replace(RECIPE, batch_size=61)}]
    keys = {dataclasses.replace(DENSE, **change).key for change in changes}
    assert len(keys | {DENSE.key}) == len(changes) + 1


def test_an_experiment_survives_json():
    plugins = load_plugins()
    for name in plugins.suites:
        for planned in plan(read_suite(name, plugins)[1], plugins, weight_folders(name, plugins)):
            experiment = planned.experiment
            again = READ.decode(json.dumps(builtins(experiment)))
            assert again == experiment and again.key == experiment.key
    assert READ.decode(json.dumps(builtins(TRANSFER))) == TRANSFER


def test_the_base_of_a_control_is_the_experiment_without_it():
    assert dataclasses.replace(IMP, control=Choice("redraw")).base == IMP
    assert IMP.base is None


def test_the_base_of_a_ticket_from_elsewhere_is_the_experiment_there():
    assert TRANSFER.base == dataclasses.replace(IMP, dataset=Choice("fashion_mnist"), recipe=SGD)
    there = dataclasses.replace(TRANSFER, origin=Origin(recipe=SGD))
    assert there.base == dataclasses.replace(IMP, recipe=SGD)


@pytest.mark.parametrize(("text", "steps"), [("500it", 500), ("2ep", 200), ("0.5ep", 50), ("10%", 400), ("2.5%", 100)])
def test_durations_in_steps(text, steps):
    assert Duration(text).steps(epoch=100, total=4000) == steps


@pytest.mark.parametrize("text", ["", "5", "ep", "-1it", "1.5it", "5 ep", "5it ", "1e3it", "٣it"])
def test_durations_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="a duration reads"):
        Duration(text)


def rates(steps=range(5), epoch=1, **changes):
    fields = {"duration": Duration("4it"), "learning_rate": 1.0, **changes}
    schedule = Schedule(dataclasses.replace(RECIPE, **fields), epoch)
    return [schedule.rate(step) for step in steps]


def test_the_learning_rate_is_a_function_of_the_step():
    assert rates() == [1.0] * 5
    assert rates((0, 2), schedule="cosine") == pytest.approx([1.0, 0.5])
    last, past = rates((3, 9), schedule="cosine")
    assert last == past > 0
    milestones = (Duration("1ep"), Duration("75%"))
    assert rates(schedule="step", milestones=milestones, factor=0.5) == [1.0, 0.5, 0.5, 0.25, 0.25]


def test_a_warm_up_rises_to_the_full_rate():
    assert rates(warmup=Duration("50%")) == [0.5, 1.0, 1.0, 1.0, 1.0]
    assert rates(warmup=Duration("2it"), schedule="cosine") == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.5])
    warm = {"warmup": Duration("2it"), "schedule": "step", "milestones": (Duration("3it"),)}
    assert rates(**warm) == pytest.approx([0.5, 1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup": Duration("4it")}, "a warmup of 4 steps does not fit into the 4"),
        ({"schedule": "step", "milestones": (Duration("5it"),)}, r"lie within the 4 steps of the recipe, not \[5\]"),
        ({"schedule": "step", "milestones": (Duration("2it"), Duration("1it"))}, r"must rise .* not \[2, 1\]"),
        ({"schedule": "step"}, "schedule 'step' needs milestones, such as"),
        (
            {"milestones": (Duration("1it"),)},
            "milestones go with schedule 'step', not with 'constant'",
        ),
        ({"factor": 0.0}, "factor must be positive"),
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\)"),
        ({"nesterov": True}, "nesterov needs a momentum"),
        ({"nesterov": True, "label_smoothing": 2.0}, r"label_smoothing must lie in .*; nesterov needs a momentum"),
        ({"crop": -1}, "crop must be finite and not negative"),
    ],
)
def test_recipes_that_have_no_meaning_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        rates(**changes)
