"""Experiments on networks whose weights come from a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.experiment import Choice, Experiment, Origin
from lth_bench.experiments.plugins import Provider, load_plugins
from lth_bench.experiments.weights import digest_of
from lth_bench.models.networks import make_network
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight
from support.documents import read_documents
from support.networks import recipe

SHAPE, CLASSES = (1, 8, 8), 10
SHORT = recipe(duration="20it", batch_size=60, weight_decay=0.0, measure_every="20it")
PLUGINS = load_plugins()


def checkpoint(path, classes=CLASSES):
    Context(PLUGINS, None, torch.device("cpu"))  # registers the models
    state = make_network(Choice("lenet_300_100"), SHORT, SHAPE, classes, 99).state_dict()
    safetensors.torch.save_file(state, path)
    return state


def experiment(path, pruner="magnitude", **changes):
    options = {"weights": digest_of(path), **changes.pop("options", {})}
    plain = Experiment(Choice("digits"), Choice("lenet_300_100", options), SHORT, Choice(pruner), 0.5, 0)
    return replace(plain, **changes)


def context(path):
    return Context(PLUGINS, None, torch.device("cpu"), weights={digest_of(path): path})


def test_every_seed_starts_from_the_weights_of_the_file(tmp_path):
    state = checkpoint(path := tmp_path / "a.safetensors")
    site = context(path)
    for seed in (0, 1):
        started = site.session(experiment(path, seed=seed)).weights
        assert all(torch.equal(value, state[name]) for name, value in started.items())
    assert preflight([experiment(path, seed=seed) for seed in (0, 1)], site) == []


def test_a_new_output_layer_is_drawn_for_every_seed(tmp_path):
    state = checkpoint(path := tmp_path / "a.safetensors", classes=7)
    site = context(path)
    (fault,) = preflight([experiment(path)], site)
    assert fault == (
        "models: 'lenet_300_100': the weights of the file do not fit: fc3.weight is 7×100 in the file and 10×100 in "
        "the model, fc3.bias is 7 in the file and 10 in the model; output_layer = 'new' draws another output layer"
    )
    new = [experiment(path, seed=seed, options={"output_layer": "new"}) for seed in (0, 1)]
    assert preflight(new, site) == []
    one, other = (site.session(item).weights for item in new)
    assert torch.equal(one["fc1.weight"], state["fc1.weight"]) and torch.equal(other["fc1.weight"], state["fc1.weight"])
    assert not torch.equal(one["fc3.weight"], other["fc3.weight"])


def test_redraw_leaves_the_file_for_newly_drawn_weights(tmp_path):
    state = checkpoint(path := tmp_path / "a.safetensors")
    session = context(path).session(experiment(path))
    plain = Context(PLUGINS, None, torch.device("cpu")).session(experiment(path, model=Choice("lenet_300_100")))
    session.redraw()
    plain.redraw()
    assert all(torch.equal(value, plain.weights[name]) for name, value in session.weights.items())
    assert not torch.equal(session.weights["fc1.weight"], state["fc1.weight"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"initialisation": "kaiming_normal"}, "recipes: initialisation = 'kaiming_normal' would overwrite weights"),
        ({"norm_scale": "uniform"}, "recipes: norm_scale = 'uniform' would overwrite weights that the model"),
    ],
)
def test_a_recipe_that_draws_initial_weights_is_refused(tmp_path, changes, words):
    checkpoint(path := tmp_path / "a.safetensors")
    (fault,) = preflight([experiment(path, recipe=replace(SHORT, **changes))], context(path))
    assert fault.startswith(words)


def test_a_file_that_the_process_does_not_know_is_refused(tmp_path):
    checkpoint(path := tmp_path / "a.safetensors")
    (fault,) = preflight([experiment(path)], Context(PLUGINS, None, torch.device("cpu")))
    assert fault == (
        f"models: 'lenet_300_100': no file is known for the weights {digest_of(path)}; name it by "
        "`weights` in the suite"
    )


def test_weights_that_do_not_fit_where_a_ticket_is_found_are_named_once(tmp_path):
    checkpoint(path := tmp_path / "a.safetensors")
    site = context(path)
    arrays = np.random.default_rng(0).integers(0, 255, (200, 1, 8, 8), dtype=np.uint8), np.arange(200) % 7
    few = Dataset("seven classes", 7, (0.5,), (0.5,), 40, lambda split, root: arrays)
    site.plugins = load_plugins()
    site.plugins.datasets.add("seven", few, Provider("tests", __name__, "tests", "0"))
    trained = experiment(path, control=Choice("transfer"), origin=Origin(dataset=Choice("seven")))
    (fault,) = preflight([trained.base, trained], site)
    assert fault.startswith("models: 'lenet_300_100': the weights of the file do not fit: fc3.weight is 10×100 in the")


SUITE = """
title = "pretrained"
models = [{ name = "lenet_300_100", label = "pretrained", weights = "a.safetensors" }, "lenet_300_100"]
datasets = ["digits"]
seeds = [0, 1]
sparsities = [0.5]
recipe = "r"
recipes.r = { duration = "2it", batch_size = 60, learning_rate = 0.001 }

[[pruners]]
name = "magnitude"
arguments = { prune_at = "initialisation" }
controls = ["redraw"]
"""


def test_a_run_prunes_the_weights_of_the_file(tmp_path, command):
    checkpoint(tmp_path / "a.safetensors")
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    done = command("run", suite, "--out", out, "--workers", 1, "--device", "cpu", "--no-report")
    assert done.returncode == 0, done.stderr
    records = read_documents(out)
    assert [record["status"] for record in records] == ["done"] * 8
    again = command("run", suite, "--out", out, "--no-report")
    assert "all 8 experiments are already in" in again.stdout
    kept = {}
    for record in records:
        if not record["experiment"].get("control"):
            name = record["model_label"]
            kept.setdefault(name, set()).add(str(record["sparsity"]["layers"]["fc1.weight"]))
    assert {name: len(counts) for name, counts in kept.items()} == {"pretrained": 1, "LeNet-300-100": 2}


def test_a_file_of_another_model_ends_a_run_before_it_begins(tmp_path, command):
    safetensors.torch.save_file({"conv.weight": torch.zeros(3)}, tmp_path / "a.safetensors")
    (tmp_path / "suite.toml").write_text(SUITE)
    done = command("run", tmp_path / "suite.toml", "--out", tmp_path / "out", "--workers", 1, "--device", "cpu")
    assert done.returncode == 2
    assert "models: 'lenet_300_100': the weights of the file do not fit: fc1.weight is missing" in done.stderr
    assert not list((tmp_path / "out").glob("records/*.json"))


def test_plan_and_run_say_where_a_missing_file_was_looked_for(tmp_path, command):
    (tmp_path / "suite.toml").write_text(SUITE)
    for name in ("plan", "run"):
        done = command(name, tmp_path / "suite.toml", "--out", tmp_path / "out")
        assert done.returncode == 2
        assert f"no file of weights at {tmp_path / 'a.safetensors'}" in " ".join(done.stderr.split())
    (tmp_path / "data").mkdir()
    checkpoint(tmp_path / "data" / "a.safetensors")
    done = command("plan", tmp_path / "suite.toml", "--out", tmp_path / "out", "--data", tmp_path / "data")
    assert done.returncode == 0 and "pretrained" in done.stdout
