"""What is wrong with an experiment is said before anything runs."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lth_bench.errors import Unsuitable
from lth_bench.experiments.choices import choice
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.plugins import Provider, load_plugins
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight
from support.networks import recipe


def make(pretrained=False, in_chans=1, num_classes=10, loaded=True, **others):
    """A network with the weights of a file, as it were: the same for every seed."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))
    if loaded:
        generator = torch.Generator().manual_seed(3)
        for parameter in network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 10
    return network


def faults(initialisation, **arguments):
    plugins = load_plugins()
    plugins.models.add("with_weights", make, Provider("tests", __name__, "tests", "0"))
    trained = recipe(initialisation=initialisation)
    model = Choice("with_weights", arguments)
    experiments = [Experiment(Choice("digits"), model, trained, Choice("dense"), 0.0, seed) for seed in (0, 1)]
    return preflight(experiments, Context(plugins, None, torch.device("cpu")))


@pytest.mark.parametrize("initialisation", ["kaiming_normal", "glorot_normal"])
def test_a_recipe_does_not_draw_initial_weights_over_loaded_ones(initialisation):
    (fault,) = faults(initialisation)
    assert fault.startswith(f"recipes: initialisation = {initialisation!r} would overwrite weights")
    assert "1.weight is the same for every seed" in fault
    assert faults(initialisation, loaded=False) == []


def test_loaded_weights_stay_with_the_models_own_initialisation():
    assert faults("own") == []


# ---- the first calls of pruners --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picky:
    """Unsuitable above a sparsity, before it computes anything or later."""

    late: bool = False

    def __call__(self, session):
        if self.late:
            session.loss(session.sample(2))
        if session.sparsity > 0.8:
            raise Unsuitable("nothing would be left; ask for less")
        session.train()


@dataclass(frozen=True)
class Mortal:
    """Prints, and ends its process."""

    def __call__(self, session):
        sys.stdout.write("farewell")
        os._exit(3)


@dataclass(frozen=True)
class Sleepy:
    def __call__(self, session):
        time.sleep(3600)


@pytest.fixture
def patient(monkeypatch):
    """Time enough for a busy machine."""
    monkeypatch.setattr("lth_bench.running.first_calls.SECONDS", 120.0)


def first_calls(*pruners, sparsities=(0.5,), pattern=""):
    plugins = load_plugins()
    for kind in (Picky, Mortal, Sleepy):
        plugins.pruners.add(kind.__name__.lower(), kind, Provider("tests", __name__, "tests", "0"))
    experiments = [
        Experiment(
            Choice("digits"),
            Choice("lenet_300_100"),
            recipe(),
            choice(plugins.pruners, *pruner),
            sparsity,
            seed,
            pattern=pattern,
        )
        for pruner in pruners
        for sparsity in sparsities
        for seed in (0, 1)
    ]
    return preflight(experiments, Context(plugins, None, torch.device("cpu")))


def test_too_few_examples_to_score_on_are_told_before_anything_runs(patient):
    few, uneven = first_calls(("snip", {"examples": 5000}), ("grasp", {"per_class": 500}), ("imp", {}), ("snip", {}))
    assert few == (
        "pruners: SNIP (examples=5000) for LeNet-300-100 on digits, sparsity 0.5: the method draws 5000 examples to "
        "score on, but there are only 1197 for training: let it draw fewer, or use a larger data set"
    )
    assert uneven.startswith(
        "pruners: GraSP (per_class=500), revision 2 for LeNet-300-100 on digits, sparsity 0.5: the method draws"
    )


def test_a_pruner_is_asked_at_every_sparsity_and_only_up_to_its_first_pass(patient):
    assert first_calls(("picky", {}), ("picky", {"late": True}), sparsities=(0.5, 0.9, 0.95)) == [
        "pruners: picky for LeNet-300-100 on digits, sparsity 0.9, 0.95: nothing would be left; ask for less"
    ]


def test_a_pruner_that_dies_or_never_returns_says_nothing_and_costs_seconds(monkeypatch, capfd):
    monkeypatch.setattr("lth_bench.running.first_calls.SECONDS", 1.0)
    started = time.monotonic()
    assert first_calls(("mortal", {}), ("sleepy", {})) == []
    assert time.monotonic() - started < 60
    assert capfd.readouterr() == ("", "")


# ---- patterns --------------------------------------------------------------------------------------------------------


def test_a_pattern_that_no_layer_can_hold_is_told_before_anything_runs():
    assert first_calls(("imp", {}), ("snip", {}), pattern="3:7") == [
        "sparsities: for 'lenet_300_100': no prunable layer can hold 3:7, which takes inputs in groups of 7: theirs "
        "number 64, 100, 300; ask for another pattern, or for a sparsity"
    ]


@pytest.mark.parametrize(
    ("pruner", "arguments", "does"),
    [
        ("rigl", {}, "replaces masks in training"),
        ("l1_filter", {"layers": "all"}, "removes whole channels"),
        ("supermask", {}, "computes weights by modules without that `pattern`"),
    ],
)
def test_a_method_without_pattern_support_says_so_before_anything_runs(patient, pruner, arguments, does):
    (fault,) = first_calls((pruner, arguments), pattern="2:4")
    assert "on digits, sparsity 2:4: a method that" in fault
    assert does in fault and fault.endswith("leave 2:4 out for it")


def test_methods_that_prune_by_scores_support_patterns(patient):
    assert first_calls(("imp", {}), ("snip", {}), ("gmp", {"end": "10it", "begin": "0it"}), pattern="2:4") == []
