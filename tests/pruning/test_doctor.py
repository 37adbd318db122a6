"""What the doctor says, on the command line, in records and under leaderboards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.data.examples import Batch
from lth_bench.models.layer_roles import prunable
from lth_bench.pruning.allocation import SPARSITIES
from lth_bench.pruning.doctor import complaints
from lth_bench.pruning.initial_scores import sensitivities, surviving
from lth_bench.pruning.masks import full, pruned
from support.documents import read_documents
from support.networks import network
from support.suites import finish

SUITE = """
title = "t"
models = ["lenet_300_100", "resnet10t"]
datasets = ["digits"]
seeds = [0]
sparsities = [0.5]
recipe = "r"
pruners = ["snip"]

[recipes.r]
duration = "2it"
batch_size = 50
learning_rate = 0.1
"""


def test_the_two_failures_of_resnet18_are_shown_and_mended(command):
    done = command("doctor", "resnet18")
    assert done.returncode == 1
    for words in (
        "above zero, and nothing in 16 of 21 layers (layer1.0.conv1.weight, ",
        "last feature map: 1×1",
        "starting at zero, weights and norm scales: 8 (layer1.0.bn2.weight, ",
        "ERK at 98% leaves dense what has fewer weights than it asks for (fc.weight)",
        "98.3% of its prunable weights, all of 16 of its 21 layers, have a SNIP score of exactly zero",
        "With --with stem=cifar --with zero_init_last=false: fit.",
    ):
        assert words in done.stdout, done.stdout


def test_a_model_that_is_fit_says_so_and_shows_what_is_kept_dense(command):
    done = command("doctor", "cifar_resnet20", "--with", 'keep=["first", "output"]', "--recipe", "open_lth_cifar")
    assert done.returncode == 0
    assert "Fit to be pruned at initialisation: cifar_resnet20" in done.stdout
    assert "kept dense, layers: 2 (conv1.weight, fc.weight)" in done.stdout
    assert "layer1.0.conv1.weight" in done.stdout and "269,824 prunable weights" in done.stdout


def test_it_looks_through_the_eyes_of_a_data_set(command):
    done = command("doctor", "lenet_300_100", "--dataset", "digits")
    assert done.returncode == 0 and "lenet_300_100 on digits: 1×8×8, 10 classes" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnt18"], "timm knows no model 'resnt18'"),
        (["resnet18", "--with", "stem"], "--with wants NAME=VALUE, such as stem=cifar, not 'stem'"),
        (["resnet18", "--with", "stem=tiny"], "stem: Input should be 'own' or 'cifar' (found: 'tiny')"),
        (["resnet18", "--with", "depth=3"], "timm cannot make 'resnet18' from {'depth': 3}"),
        (["resnet18", "--dataset", "nowhere"], "no dataset 'nowhere'; known: cifar10"),
        (["resnet18", "--dataset", "parquet=/nowhere"], "the train split of /nowhere is not there"),
        (["resnet18", "--recipe", "nothing"], "no recipe 'nothing'; known: early_bird_cifar"),
        (["inception_v4"], "'inception_v4' cannot take inputs of shape (3, 32, 32)"),
        (["vit_tiny_patch16_224", "--with", "stem=cifar"], "give it img_size and patch_size instead"),
    ],
)
def test_what_cannot_be_examined_ends_with_status_2_and_a_sentence(arguments, words, command):
    done = command("doctor", *arguments)
    assert done.returncode == 2 and words in done.stderr


def test_records_and_leaderboards_say_which_models_are_not_fit(tmp_path, command):
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    finish(path, tmp_path / "out")
    done = command("leaderboard", tmp_path / "out")
    records = {record["experiment"]["model"]["name"]: record for record in read_documents(tmp_path / "out")}
    assert records["lenet_300_100"]["unfit"] == []
    told = records["resnet10t"]["unfit"]
    assert "have a SNIP score of exactly zero" in told[0] and told[1] == "its last feature map is 1×1 for images of 8×8"
    assert set(records["lenet_300_100"]["data"]) == {"training", "test"}
    assert records["lenet_300_100"]["data"] == records["resnet10t"]["data"]
    sentence = f"resnet10t on digits is not fit to be pruned at initialisation: {'; '.join(told)}."
    assert sentence in " ".join(done.stdout.split())
    for kind in ("md", "tex"):
        text = command("leaderboard", tmp_path / "out", "--format", kind).stdout
        assert "resnet10t" in text and "is not fit to be pruned at initialisation" in text
        assert "lenet_300_100 on digits is not fit" not in text.replace("\\", "")


def test_a_training_that_diverges_says_so_too(tmp_path, command):
    (tmp_path / "suite.toml").write_text(SUITE.replace('"lenet_300_100", ', "").replace("= 0.1", "= 1e30"))
    finish(tmp_path / "suite.toml", tmp_path / "out")
    (record,) = read_documents(tmp_path / "out")
    assert record["status"] == "diverged" and "at step 2" in record["error"]["message"]
    assert "have a SNIP score of exactly zero" in record["unfit"][0] and set(record["data"]) == {"training"}
    done = command("leaderboard", tmp_path / "out")
    assert "resnet10t on digits is not fit to be pruned at initialisation" in " ".join(done.stdout.split())


def test_looking_changes_nothing():
    model = network(0)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    noise = torch.get_rng_state()
    batch = Batch(torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3)
    complaints(model, sensitivities(model, prunable(model), batch), batch)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(noise, torch.get_rng_state()) and model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_scores_are_gradient_times_weight():
    layer = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    batch = Batch(torch.tensor([[2.0]]), torch.tensor([0]))
    share = float(torch.softmax(torch.tensor([2.0, -2.0]), 0)[1])
    found = sensitivities(layer, {"weight": layer.weight}, batch)["weight"]
    assert found.flatten().tolist() == pytest.approx([2 * share, 2 * share], rel=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.06, 0.5, 1.0], ids="{:.0%} above zero".format)
def test_what_survives_is_what_masks_leave_of_scores_with_ties_and_zeros(share):
    draws = torch.Generator().manual_seed(0)
    shapes = {"one": (40, 50), "two": (30, 10), "three": (7, 3, 3, 3)}
    scores = {name: torch.randint(1, 4, shape, generator=draws).float() for name, shape in shapes.items()}
    scores = {name: score * (torch.rand(score.shape, generator=draws) <= share) for name, score in scores.items()}
    masks = [pruned(scores, full(scores), sparsity) for sparsity in SPARSITIES]
    expected = {name: tuple(int((mask[name] & (score > 0)).sum()) for mask in masks) for name, score in scores.items()}
    assert surviving(scores) == expected
