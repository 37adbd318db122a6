"""What is wrong with an experiment is said before anything runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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
