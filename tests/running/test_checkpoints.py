"""Experiments that start from timm's checkpoints, and how their images are normalised."""

from __future__ import annotations

from dataclasses import replace

import huggingface_hub
import numpy as np
import pytest
import torch
from torch import nn

from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.experiment import Choice, Experiment, Planned
from lth_bench.experiments.plugins import Provider, load_plugins
from lth_bench.experiments.weights import digest_of
from lth_bench.pruning.tickets import read_ticket
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight
from lth_bench.running.run import run
from lth_bench.storage.record import identity
from lth_bench.storage.records import ticket_path
from support.checkpoints import checkpoint, in_hub_cache, write
from support.documents import read_documents
from support.networks import recipe

NAME, REPOSITORY = "test_resnet", "timm/test_resnet.r160_in1k"
SHORT = recipe(duration="4it", batch_size=20, weight_decay=0.0, measure_every="4it")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
NORMALISATION = {"mean": list(MEAN), "std": list(STD)}


def read(split, root):
    draw = np.random.default_rng({"train": 0, "test": 1}[split])
    return draw.integers(0, 256, (120, 3, 16, 16), dtype=np.uint8), np.arange(120) % 10


def context(path=None):
    plugins = load_plugins()
    colours = Dataset("colours", 10, (0.1, 0.2, 0.3), (0.9, 0.8, 0.7), 40, read)
    plugins.datasets.add("colours", colours, Provider("tests", __name__, "tests", "0"))
    return Context(plugins, None, torch.device("cpu"), weights={digest_of(path): path} if path else {})


def experiment(path, data="colours", **options):
    given = {"weights": digest_of(path), "weights_from": "timm", "output_layer": "new", **options}
    model = Choice(NAME, {name: value for name, value in given.items() if value})
    return Experiment(Choice(data), model, SHORT, Choice("magnitude"), 0.5, 0)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "model.safetensors", checkpoint(NAME))


def test_all_splits_are_normalised_as_the_checkpoint_was_trained(path):
    site, own = context(path), experiment(path, normalisation=NORMALISATION)
    dataset = own.dataset
    plain = {"training": site.training(dataset)[0], "validation": site.training(dataset)[1], "test": site.test(dataset)}
    seen = dict(zip(("training", "validation"), site.examples(own), strict=True))
    seen["test"] = site.seen(site.test(dataset), own)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    network = site.network(own, 0).eval()
    for name, source in plain.items():
        by_hand = (source.images[:8].float() / 255 - mean) / std
        inputs = seen[name].batch(slice(0, 8)).inputs
        assert torch.allclose(inputs, by_hand, atol=1e-6)
        assert torch.allclose(network(inputs), network(by_hand), atol=1e-4)
        assert not torch.allclose(source.batch(slice(0, 8)).inputs, by_hand, atol=0.1)
    assert site.examples(own)[0].images is site.examples(replace(own, seed=1))[0].images


def loss(network, source):
    """The loss of images that are normalised by hand."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        return nn.functional.cross_entropy(network((source.images.float() / 255 - mean) / std), source.labels).item()


def test_training_validation_and_test_see_the_normalised_images(path, tmp_path):
    site, own = (
        context(path),
        replace(experiment(path, normalisation=NORMALISATION), pruner=Choice("dense"), sparsity=0.0),
    )
    others = replace(own, model=experiment(path).model)
    assert preflight([own, others], site) == []
    planned = [Planned(item, "dense", "short", False) for item in (own, others)]
    record, other = (run(identity("tests", item), tmp_path, site) for item in planned)
    network = site.network(own, 0).eval()
    network.load_state_dict(read_ticket(ticket_path(tmp_path, own.key), record.ticket.sha256).final)
    assert record.curve.validation_loss[-1] == pytest.approx(loss(network, site.training(own.dataset)[1]), rel=1e-4)
    assert record.test.last.loss == pytest.approx(loss(network, site.test(own.dataset)), rel=1e-4)
    assert site.setup(own).training is site.examples(own)[0]
    assert other.curve.training_loss != record.curve.training_loss
    assert record.data == other.data


def test_normalisation_for_other_channels_is_refused_in_one_sentence(path):
    (fault,) = preflight([experiment(path, "digits", normalisation=NORMALISATION)], context(path))
    assert fault == (
        "models: 'test_resnet': its mean and std are for 3 channels, images of 'digits' have 1; give the model others, "
        "or normalisation = 'data'"
    )
    grey = experiment(path, "digits")
    assert preflight([grey], context(path)) == []
    colours = checkpoint(NAME)["conv1.0.weight"]
    assert torch.allclose(context(path).network(grey, 0).conv1[0].weight, colours.sum(1, keepdim=True))


def test_an_output_layer_is_new_only_where_that_is_asked_for(path):
    (fault,) = preflight([experiment(path, output_layer=None)], context(path))
    assert fault == (
        "models: 'test_resnet': the weights of the file do not fit: fc.weight is 1000×96 in the file and 10×96 in the "
        "model, fc.bias is 1000 in the file and 10 in the model; output_layer = 'new' draws another output layer"
    )


@pytest.mark.parametrize("change", [{"initialisation": "kaiming_normal"}, {"norm_scale": "uniform"}])
def test_a_recipe_that_draws_initial_weights_is_refused(path, change):
    item = replace(experiment(path), recipe=replace(SHORT, **change))
    (fault,) = preflight([item], context(path))
    (name,) = change
    assert fault.startswith(f"recipes: {name} = {change[name]!r} would overwrite weights that the model 'test_resnet'")


class Malicious:
    def __reduce__(self):
        return print, ("the file has run code",)


def test_a_bad_file_in_the_cache_is_told_in_one_sentence(tmp_path, capsys):
    def fault(path):
        (sentence,) = preflight([experiment(path)], context(path))
        return sentence

    state = checkpoint(NAME)
    (damaged := tmp_path / "a.safetensors").write_bytes(b"nonsense")
    assert f"models: 'test_resnet': {damaged} is damaged (SafetensorError)" in fault(damaged)
    other = write(tmp_path / "b.safetensors", checkpoint("test_vit"))
    assert "the weights of the file do not fit: conv1.0.weight is missing, " in fault(other)
    for name in ("conv1.0.weight", "layer1.0.bn1.running_var"):
        faulty = write(tmp_path / "c.safetensors", {**state, name: torch.full_like(state[name], float("nan"))})
        assert f"the weights of the file are not all finite: {name};" in fault(faulty)
    torch.save({"conv1.0.weight": Malicious()}, tmp_path / "pytorch_model.bin")
    assert "is damaged, or holds objects that could run code when they are read" in fault(
        tmp_path / "pytorch_model.bin"
    )
    assert "the file has run code" not in capsys.readouterr().out


SUITE = """
title = "checkpoints"
models = [{ name = "test_resnet", pretrained = true, output_layer = "new", normalisation = "data" }]
datasets = ["digits"]
seeds = [0]
sparsities = [0.5]
recipe = "r"
recipes.r = { duration = "2it", batch_size = 60, learning_rate = 0.001 }
pruners = ["magnitude"]
controls = ["redraw"]
"""


def test_a_run_starts_from_what_the_cache_has(tmp_path, command, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "suite.toml").write_text(SUITE)
    arguments = tmp_path / "suite.toml", "--out", tmp_path / "out", "--workers", 1, "--device", "cpu", "--no-report"
    absent = command("run", *arguments)
    assert absent.returncode == 2 and "timm's cache has no checkpoint of 'test_resnet'" in absent.stderr
    unreachable = command("run", *arguments, "--download")
    assert unreachable.returncode == 2 and "cannot be fetched: " in unreachable.stderr
    assert "fetching the checkpoint of test_resnet into timm's cache" in unreachable.stdout
    shown = in_hub_cache(tmp_path / "hub", REPOSITORY)
    write(shown, checkpoint(NAME))
    done = command("run", *arguments, "--download")
    assert done.returncode == 0, done.stderr
    (one, other) = read_documents(tmp_path / "out")
    assert one["experiment"]["model"]["arguments"]["weights"] == digest_of(shown)
    assert "fetching" not in done.stdout and other["status"] == "done"
