"""Exported networks: what is written can be loaded, equals the network that was tested, and may be trained on."""

from __future__ import annotations

import io
import re
import sys

import numpy as np
import onnxruntime
import pytest
import safetensors
import timm
import torch
from safetensors.torch import load_file

from lth_bench import load_network
from lth_bench.errors import Damaged, FileFault, ModelError
from lth_bench.experiments.plugins import load_plugins
from lth_bench.export.account import savings
from lth_bench.export.package import pack
from lth_bench.export.thin import thinned
from lth_bench.models.predictions import evaluate
from lth_bench.running.worker import make_context
from lth_bench.storage.record import RecordedError, failed, identity_of
from lth_bench.storage.records import read_records, record_path, ticket_path, write_record
from support.images import encoded
from support.places import ROOT
from support.suites import finish

SUITE = """
title = "exported"
models = [
    "cifar_resnet20",
    {{ name = "cifar_vgg11", arguments = {{ width = 0.25 }} }},
    {{ name = "test_vit", arguments = {{ patch_size = 8 }} }},
    {{ name = "test_convnext", arguments = {{ stem = "cifar" }} }},
]
datasets = [{{ images = "{folder}", validation = 12, mean = [0.5], std = [0.25] }}]
seeds = [0]
sparsities = [0.5]
recipe = "short"

[recipes.short]
duration = "4it"
batch_size = 8
learning_rate = 0.05

[[pruners]]
name = "magnitude"
models = ["test_vit", "test_convnext"]
"""
STRUCTURED = """
[[pruners]]
name = "{name}"
arguments = {{ {arguments} }}
models = ["cifar_resnet20", "cifar_vgg11"]
"""
METHODS = {
    "l1_filter": "",
    "slimming": "",
    "early_bird": 'latest = "4it", interval = "2it"',
    "taylor": "rounds = 2, batches = 2, examples = 8",
}
NETWORKS = ["cifar_resnet20", "cifar_vgg11"]
DIGITS = """
title = "digits"
models = ["cifar_resnet20"]
datasets = ["digits"]
seeds = [0]
sparsities = [0.5]
recipe = "short"
pruners = ["l1_filter"]

[recipes.short]
duration = "4it"
batch_size = 60
learning_rate = 0.05
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Four structured methods on a ResNet and a VGG, and magnitude pruning of two transformers' kin, on noise."""
    place, draws = tmp_path_factory.mktemp("exported"), np.random.default_rng(0)
    for split, category, number in np.ndindex(2, 3, 12):
        folder = place / "images" / ("train", "val")[split] / str(category)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded(draws.integers(0, 256, (16, 16), np.uint8)))
    methods = "".join(STRUCTURED.format(name=name, arguments=arguments) for name, arguments in METHODS.items())
    (place / "suite.toml").write_text(SUITE.format(folder=place / "images") + methods)
    finish(place / "suite.toml", place / "run")
    torch.set_flush_denormal(False)
    return place / "run"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    place = tmp_path_factory.mktemp("digits")
    (place / "suite.toml").write_text(DIGITS)
    finish(place / "suite.toml", place / "run")
    torch.set_flush_denormal(False)
    return place / "run"


def record_of(directory, pruner, model):
    (record,) = [
        record
        for record in read_records(directory)
        if (record.experiment.pruner.name, record.experiment.model.name) == (pruner, model)
    ]
    assert record.status == "done", record.error
    return record


def packed(directory, pruner, model):
    return pack(record_of(directory, pruner, model).key, directory, None, load_plugins())


@torch.no_grad()
def run_onnx(content, images):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("pruner", METHODS)
def test_a_thin_network_computes_what_the_masked_one_does_with_what_the_record_counts(directory, pruner, model):
    package = packed(directory, pruner, model)
    ticket = package.finished.ticket
    result = thinned(package.network, ticket.masks, ticket.channels)
    saved = savings(result.network, package.finished, package.made.shape)
    assert (saved.weights, saved.flops) == (saved.recorded_weights, saved.recorded_flops)
    assert saved.larger == [] and result.put_back == []
    assert (
        saved.weights < 0.51 * package.finished.sparsity.prunable and saved.parameters < 0.51 * saved.dense_parameters
    )
    images = package.images.double()
    with torch.no_grad():
        thin, masked = (network.double()(images) for network in (result.network, package.network))
    torch.testing.assert_close(thin, masked, rtol=0, atol=1e-9)
    assert float(masked.std(0).max()) > 0


@pytest.mark.parametrize("model", NETWORKS)
def test_thin_files_compute_what_the_masked_network_does(directory, model):
    package = packed(directory, "early_bird", model)
    package.add_thin()
    images = torch.cat([package.images, package.images.flip(3)])
    with torch.no_grad():
        wanted = package.network(images)
        program = torch.export.load(io.BytesIO(package.files[".thin.pt2"])).module()
    tolerance = 1e-5 * max(1.0, float(wanted.abs().max()))
    for outputs in (program(images), run_onnx(package.files[".thin.onnx"], images)):
        torch.testing.assert_close(outputs, wanted, rtol=0, atol=tolerance)
    thin, masked = (sum(value.numel() for value in network.parameters()) for network in (program, package.network))
    assert thin < 0.51 * masked


@pytest.mark.parametrize("model", ["test_vit", "test_convnext"])
def test_tickets_of_single_weights_are_written_as_a_state_dict_and_as_onnx(command, directory, tmp_path, model):
    record, file = record_of(directory, "magnitude", model), tmp_path / "network.safetensors"
    done = command("export", record.key[:10], "--from", directory, "--to", file, "--onnx")
    assert done.returncode == 0, done.stderr
    space = {"timm": timm}
    exec(done.stdout.partition("In Python:\n")[2], space)
    network = space["network"].eval()
    state, masks = load_file(file), load_file(tmp_path / "network.masks.safetensors")
    kept = {name: layer.mask for name, layer in record.sparsity.layers.items()}
    assert {name: int(mask.sum()) for name, mask in masks.items()} == kept
    assert not any(bool(state[name][~mask].any()) for name, mask in masks.items())
    test = make_context(None, "cpu").test(record.experiment.dataset)
    assert evaluate(network, test)[1] == pytest.approx(record.test.last.accuracy)
    images = test.batch(slice(0, 7)).inputs
    with torch.no_grad():
        wanted = network(images)
    torch.testing.assert_close(run_onnx((tmp_path / "network.onnx").read_bytes(), images), wanted, rtol=0, atol=1e-4)


def test_a_file_says_what_it_is_of(command, directory, tmp_path):
    record, file = record_of(directory, "l1_filter", "cifar_vgg11"), tmp_path / "network.safetensors"
    done = command("export", ticket_path(directory, record.key), "--to", file)
    assert done.returncode == 0 and "lth_bench.load_network(" in done.stdout
    with safetensors.safe_open(file, "pt") as content:
        metadata = content.metadata()
    assert (metadata["model"], metadata["arguments"], metadata["key"]) == ("cifar_vgg11", '{"width": 0.25}', record.key)
    assert float(metadata["sparsity"]) == record.sparsity.measured
    assert float(metadata["accuracy"]) == record.test.last.accuracy
    assert (metadata["mean"], metadata["std"], metadata["shape"]) == ("[0.5]", "[0.25]", "[1, 16, 16]")
    test = make_context(None, "cpu").test(record.experiment.dataset)
    assert evaluate(load_network(file), test)[1] == pytest.approx(record.test.last.accuracy)


def test_the_lines_of_the_documentation_train_on_with_the_mask_held(command, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = record_of(digits, "l1_filter", "cifar_resnet20").key
    done = command("export", key, "--from", digits, "--to", "digits.safetensors", "--thin")
    assert done.returncode == 0 and "the thin network as ONNX equals the masked network" in done.stdout
    page = (ROOT / "docs" / "export.md").read_text()
    training, thin = re.findall(r"```python\n(.*?)```", page, re.S)
    start, masks, space = load_file("digits.safetensors"), load_file("digits.masks.safetensors"), {}
    exec(training, space)
    state = space["network"].state_dict()
    assert not any(bool(state[name][~mask].any()) for name, mask in masks.items())
    assert all(not torch.equal(state[name], start[name]) for name in masks)
    exec(thin, {"print": lambda predicted: space.update(predicted=predicted)})
    assert space["predicted"].shape == (5,)
    again = thinned(space["network"], masks, pack(key, digits, None, load_plugins()).finished.ticket.channels)
    images = space["images"][:20]
    with torch.no_grad():
        torch.testing.assert_close(again.network(images), space["network"].eval()(images), rtol=1e-4, atol=1e-4)


@pytest.fixture
def broken(directory, tmp_path):
    """A run directory with a failed experiment, one whose ticket is damaged, and one whose ticket is gone."""
    one, two, three, *_ = read_records(directory)
    write_record(tmp_path, failed(identity_of(one), RecordedError(kind="crash", message="it ran out of memory")))
    for record in (two, three):
        write_record(tmp_path, record)
    damaged = bytearray(ticket_path(directory, two.key).read_bytes())
    damaged[-100] ^= 1
    ticket_path(tmp_path, two.key).parent.mkdir()
    ticket_path(tmp_path, two.key).write_bytes(damaged)
    return tmp_path, one.key, two.key, three.key


def test_what_has_no_network_is_refused_in_a_sentence(command, broken, tmp_path):
    folder, one, two, three = broken
    for key, reason in (
        (one, "it ran out of memory"),
        (two, "is damaged"),
        (three, "cannot read"),
        ("", "3 keys in"),
        ("zz", "none of the 3 records"),
        (tmp_path / "no.safetensors", "there is no ticket"),
    ):
        done = command("export", key, "--from", folder, "--to", tmp_path / "out" / "network.safetensors")
        assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out").exists()


def test_places_and_tickets_that_do_not_fit_are_refused_in_a_sentence(command, directory, tmp_path):
    vit, file = record_of(directory, "magnitude", "test_vit").key, tmp_path / "network.safetensors"
    ticket = ticket_path(directory, vit)
    before = ticket.read_bytes()
    alone = tmp_path / "tickets" / f"{vit}.safetensors"
    alone.parent.mkdir()
    alone.write_bytes(before)
    for arguments, reason in (
        ((vit, "--from", directory, "--to", tmp_path / "network.pt"), "does not end in .safetensors"),
        ((vit, "--from", directory, "--to", ticket), "lies among the tickets"),
        ((vit, "--to", file), "Name it by --from DIR"),
        ((vit, "--from", tmp_path / "nowhere", "--to", file), "no records in"),
        ((vit, "--from", directory, "--to", file, "--thin"), "keeps all channels of every layer"),
        ((alone, "--to", file), "has no record"),
    ):
        done = command("export", *arguments)
        assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert ticket.read_bytes() == before and not file.exists()


def test_files_that_are_no_exported_networks_are_refused(directory, tmp_path):
    vit = record_of(directory, "magnitude", "test_vit").key
    with pytest.raises(FileFault, match="does not say which model"):
        load_network(ticket_path(directory, vit))
    with pytest.raises(Damaged, match="is no safetensors file"):
        load_network(record_path(directory, vit))
    with pytest.raises(FileFault, match="cannot read"):
        load_network(tmp_path / "no.safetensors")


def test_a_network_whose_model_has_changed_is_refused(directory):
    package = packed(directory, "magnitude", "test_vit")
    package.finished.ticket.final.pop("head.bias")
    del package.__dict__["network"]
    with pytest.raises(ModelError, match="do not fit the model 'test_vit' as it is now"):
        _ = package.network


def test_onnx_that_is_not_installed_is_asked_for(directory, monkeypatch):
    package = packed(directory, "l1_filter", "cifar_vgg11")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for add in (package.add_onnx, package.add_thin):
        with pytest.raises(ModelError, match=r"ONNX needs onnxscript: pip install 'lth-bench\[onnx\]'"):
            add()
    assert list(package.files) == [".safetensors", ".masks.safetensors"]


def test_an_onnx_file_that_nothing_can_run_is_written_with_a_note(directory, monkeypatch):
    package = packed(directory, "l1_filter", "cifar_vgg11")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    package.add_onnx()
    assert "was not compared with the masked network: onnxruntime is not installed" in package.notes[-1]
    assert package.files[".onnx"]
