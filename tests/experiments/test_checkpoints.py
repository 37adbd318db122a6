"""timm's checkpoints in suites: found in its cache, part of what an experiment is, normalised in their own way."""

from __future__ import annotations

import hashlib

import huggingface_hub
import pytest
import timm

from lth_bench.errors import SuiteError
from lth_bench.experiments import checkpoints
from lth_bench.experiments.choices import label
from lth_bench.experiments.plan import plan, read_suite, weight_folders
from lth_bench.experiments.plugins import load_plugins
from support.checkpoints import in_hub_cache

PLUGINS = load_plugins()
NAME, REPOSITORY = "test_resnet", "timm/test_resnet.r160_in1k"
SUITE = """
title = "checkpoints"
models = [{{ name = "{name}", {entry} }}]
datasets = ["digits"]
seeds = [0]
sparsities = [0.5]
recipe = "r"
pruners = ["snip"]
recipes.r = {{ duration = "1ep", batch_size = 60, learning_rate = 0.1 }}
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache in the place of the user's; what is not there cannot be fetched."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "hub"


def planned(folder, entry, name=NAME):
    path = folder / "suite.toml"
    path.write_text(SUITE.format(entry=entry, name=name))
    (item,) = plan(read_suite(str(path), PLUGINS)[1], PLUGINS, weight_folders(str(path), PLUGINS))
    return item


def faults(folder, entry, name=NAME):
    with pytest.raises(SuiteError) as error:
        planned(folder, entry, name)
    return "\n".join(error.value.faults)


def test_the_bytes_in_the_cache_decide_what_an_experiment_is(tmp_path, cache):
    shown = in_hub_cache(cache, REPOSITORY)
    shown.write_bytes(b"one")
    item = planned(tmp_path, "pretrained = true")
    digest = f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    half = [0.5, 0.5, 0.5]
    normalisation = {"mean": half, "std": half}
    assert item.weights == shown
    assert item.experiment.model.arguments == {
        "weights": digest,
        "weights_from": "timm",
        "normalisation": normalisation,
    }
    assert (
        label(item.experiment.model) == f"test_resnet (normalisation=0.5±0.5, weights={digest[:15]}, weights_from=timm)"
    )
    shown.write_bytes(b"other")
    assert planned(tmp_path, "pretrained = true").experiment.key != item.experiment.key


def test_a_tag_names_one_of_several_checkpoints(tmp_path, cache):
    in_hub_cache(cache, "timm/resnet18.tv_in1k", "pytorch_model.bin").write_bytes(b"tv")
    in_hub_cache(cache, "timm/resnet18.a1_in1k").write_bytes(b"a1")
    by_tag = {name: planned(tmp_path, "pretrained = true", name) for name in ("resnet18", "resnet18.tv_in1k")}
    assert [item.weights.read_bytes() for item in by_tag.values()] == [b"a1", b"tv"]
    assert "normalisation=0.485±0.229 0.456±0.224 0.406±0.225, " in label(by_tag["resnet18"].experiment.model)
    in_hub_cache(cache, "timm/resnet18.tv_in1k").write_bytes(b"preferred")
    assert planned(tmp_path, "pretrained = true", "resnet18.tv_in1k").weights.read_bytes() == b"preferred"


def test_a_checkpoint_of_a_url_lies_in_the_cache_of_torch(tmp_path, cache):
    name = "legacy_seresnet18"
    assert "legacy_seresnet18', https://" in faults(tmp_path, "pretrained = true", name)
    place = tmp_path / "torch" / "hub" / "checkpoints" / timm.get_pretrained_cfg(name).url.rpartition("/")[2]
    place.parent.mkdir(parents=True)
    place.write_bytes(b"one")
    assert planned(tmp_path, "pretrained = true", name).weights == place


def test_a_model_without_a_file_may_have_a_normalisation_of_its_own(tmp_path, cache):
    pixels = planned(tmp_path, "mean = [0.0], std = [1.0]", "lenet_300_100").experiment.model
    assert pixels.arguments == {"normalisation": {"mean": [0.0], "std": [1.0]}}


def test_normalisation_is_part_of_an_experiment_where_it_is_not_that_of_the_data(tmp_path, cache):
    in_hub_cache(cache, REPOSITORY).write_bytes(b"one")
    (tmp_path / "a.safetensors").write_bytes(b"one")
    entries = [
        "pretrained = true",
        'pretrained = true, normalisation = "data"',
        "pretrained = true, mean = [0.5], std = [1]",
        'weights = "a.safetensors"',
        'weights = "a.safetensors", mean = [0], std = [1]',
    ]
    models = [planned(tmp_path, entry).experiment.model for entry in entries]
    found = [model.arguments.get("normalisation") for model in models]
    half = [0.5, 0.5, 0.5]
    assert found == [
        {"mean": half, "std": half},
        None,
        {"mean": [0.5], "std": [1.0]},
        None,
        {"mean": [0.0], "std": [1.0]},
    ]
    assert len({label(model) for model in models}) == len({str(model) for model in models}) == 5


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        (
            NAME,
            "pretrained = true",
            "models[0].pretrained: timm's cache has no checkpoint of 'test_resnet', timm/test_resnet.r160_in1k on "
            "Hugging Face; `lth-bench run --download` fetches it, or name a file by weights = 'PATH'",
        ),
        ("lenet_300_100", "pretrained = true", "timm has no checkpoint of 'lenet_300_100'; name a file by weights ="),
        ("resnet18.a9", "pretrained = true", "timm has no checkpoint of 'resnet18.a9'; known: resnet18.a1_in1k, "),
        ("test_coatnet", "pretrained = true", "timm has no checkpoint of 'test_coatnet'; name a file by weights ="),
        (NAME, 'pretrained = true, weights = "a.pth"', "weights and pretrained both say what the model starts from"),
        (NAME, 'weights = "a.pth", mean = [0.5]', "mean and std go together; give both or none"),
        (NAME, 'weights = "a.pth", mean = [0.5], std = [1, 1]', "mean and std go together, each with a number for ev"),
        (NAME, 'weights = "a.pth", mean = [0.5], std = [0]', "std above 0; found (0.5,) and (0.0,)"),
        (NAME, 'weights = "a.pth", mean = [0.5], std = [inf]', "mean and std must be finite numbers"),
        (NAME, 'weights = "a.pth", mean = [1], std = [1], normalisation = "data"', "leave it or those out"),
        (NAME, "mean = [0.5], std = [0]", "std above 0; found (0.5,) and (0.0,)"),
        (NAME, "arguments = { pretrained = true }", "pretrained = true stands beside the arguments, not among them"),
        (NAME, "arguments = { weights_from = 'timm' }", "is asked for beside the arguments of a model, by pretrained"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, cache, name, entry, words):
    (tmp_path / "a.pth").write_bytes(b"one")
    assert words in faults(tmp_path, entry, name)


def test_what_cannot_be_fetched_is_told_in_one_sentence(cache):
    assert checkpoints.is_absent(NAME) and not checkpoints.is_absent("lenet_300_100")
    with pytest.raises(ValueError, match=r"^the checkpoint of 'test_resnet', timm/test_resnet\.r160_in1k on Hu"):
        checkpoints.fetch(NAME)
    in_hub_cache(cache, REPOSITORY).write_bytes(b"one")
    assert not checkpoints.is_absent(NAME)


def test_what_is_fetched_is_found(cache, tmp_path, monkeypatch):
    (tmp_path / "source.pth").write_bytes(b"one")
    url = (tmp_path / "source.pth").as_uri()
    monkeypatch.setitem(timm.models._registry._model_pretrained_cfgs, NAME, timm.models.PretrainedCfg(url=url))
    assert checkpoints.is_absent(NAME)
    checkpoints.fetch(NAME)
    assert checkpoints.cached(NAME).path.read_bytes() == b"one"
    assert checkpoints.cached(NAME).path.is_relative_to(tmp_path / "torch")
