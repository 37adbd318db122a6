"""Names of models that timm, plugins and other packages have in common."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from timm.models import _registry as registry
from torch import nn

from lth_bench.cli.consultation import Question, consult
from lth_bench.errors import ModelError
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.plugins import Plugins, Provider, load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.timm_models import check_name
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight

PROVIDER = Provider("other", "other_models.nets", "other-models", "1.0")


def linear(pretrained=False, in_chans=1, num_classes=10, **others):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_chans, num_classes))


def plugins_with(name, function=linear):
    plugins = load_plugins()
    plugins.models.add(name, function, PROVIDER)
    return plugins


def faults(plugins, *models):
    """What is wrong with experiments on these models, as it is told before a run."""
    recipe = Recipe(Duration("1ep"), 50, 0.1)
    experiments = [Experiment(Choice("digits"), Choice(name), recipe, Choice("dense"), 0.0, 0) for name in models]
    return preflight(experiments, Context(plugins, None, torch.device("cpu")))


def test_a_plugins_name_that_timm_has_is_refused_where_it_is_used_and_nowhere_else():
    plugins = plugins_with("resnet18")
    assert faults(plugins, "lenet_300_100", "resnet10t") == []
    (fault,) = faults(plugins, "lenet_300_100", "resnet18")
    assert fault == (
        "models: other-models registers the model 'resnet18', a name that timm gives to another model; rename it in "
        "the module other_models.nets, or uninstall other-models"
    )
    with pytest.raises(ModelError, match="other-models registers the model 'resnet18'"):
        consult(Question("resnet18", []), plugins, None)
    assert timm.model_entrypoint("resnet18") is timm.models.resnet18


def test_a_plugin_may_register_what_timm_has_under_the_same_name():
    assert faults(plugins_with("resnet10t", timm.models.resnet10t), "resnet10t") == []


@pytest.fixture
def registered(monkeypatch):
    """Registers a function with timm for one test, in the place of what timm has."""
    return lambda name: monkeypatch.setitem(registry._model_entrypoints, name, linear)


def test_a_package_that_replaces_a_model_of_timm_is_noticed(registered):
    assert faults(load_plugins(), "resnet10t") == []
    registered("resnet10t")
    (fault,) = faults(load_plugins(), "resnet10t")
    place = re.escape(__name__)
    assert re.search(f"the module {place} has put a model of its own in the place of timm's 'resnet10t'; rename", fault)
    (fault,) = faults(plugins_with("resnet10t"), "resnet10t")
    assert "other-models registers the model 'resnet10t', a name that timm gives to another model" in fault


def test_a_package_may_register_new_names_with_timm_itself(registered):
    registered("net_of_a_package")
    assert faults(load_plugins(), "net_of_a_package") == []
    (fault,) = faults(plugins_with("net_of_a_package", lambda **arguments: linear()), "net_of_a_package")
    assert f"a name that the module {__name__} gives to another model" in fault


def test_all_names_of_timm_and_of_the_plugins_are_clear():
    plugins = load_plugins()
    Context(plugins, None, torch.device("cpu"))
    for name in [*registry._model_entrypoints, *plugins.models]:
        check_name(name, plugins.models)


def test_a_model_that_cannot_be_called_is_refused_when_it_is_registered():
    with pytest.raises(ValueError, match="model 'net' must be a function that makes a model, not 3"):
        Plugins().models.add("net", 3, PROVIDER)
