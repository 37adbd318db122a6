"""Weights that the models of a suite name are part of what an experiment is."""

from __future__ import annotations

import hashlib

import pytest

from lth_bench.errors import SuiteError
from lth_bench.experiments.choices import label
from lth_bench.experiments.plan import plan, read_suite, weight_folders
from lth_bench.experiments.plugins import load_plugins

PLUGINS = load_plugins()
SUITE = """
title = "weights"
models = [{{ name = "lenet_300_100", {entry} }}]
datasets = ["digits"]
seeds = [0]
sparsities = [0.5]
recipe = "r"
pruners = ["snip"]
recipes.r = {{ duration = "1ep", batch_size = 60, learning_rate = 0.1 }}
"""


def planned(folder, entry, root=None):
    folder.mkdir(exist_ok=True)
    path = folder / "suite.toml"
    path.write_text(SUITE.format(entry=entry))
    (item,) = plan(read_suite(str(path), PLUGINS, root)[1], PLUGINS, weight_folders(str(path), PLUGINS, root))
    return item


def faults(folder, entry, root=None):
    with pytest.raises(SuiteError) as error:
        planned(folder, entry, root)
    return "\n".join(error.value.faults)


def test_the_bytes_of_the_file_decide_what_an_experiment_is_not_its_name(tmp_path):
    plain = planned(tmp_path, "arguments = {}")
    (tmp_path / "a.pth").write_bytes(b"one")
    one = planned(tmp_path, 'weights = "a.pth"')
    digest = hashlib.sha256(b"one").hexdigest()
    assert one.experiment.model.arguments == {"weights": f"sha256:{digest}"}
    assert (plain.weights, one.weights) == (None, tmp_path / "a.pth")
    (tmp_path / "b.safetensors").write_bytes(b"one")
    same = planned(tmp_path, 'weights = "b.safetensors"')
    (tmp_path / "a.pth").write_bytes(b"other")
    other = planned(tmp_path, 'weights = "a.pth"')
    new = planned(tmp_path, 'weights = "a.pth", output_layer = "new"')
    assert same.experiment.key == one.experiment.key
    assert len({item.experiment.key for item in (plain, one, other, new)}) == 4
    assert label(one.experiment.model) == f"lenet_300_100 (weights=sha256:{digest[:8]})"


def test_files_lie_beside_the_suite_or_below_the_data_root(tmp_path):
    root, suite = tmp_path / "data", tmp_path / "suite"
    for folder in (root, suite):
        folder.mkdir()
    (root / "a.pth").write_bytes(b"below the root")
    assert faults(suite, 'weights = "a.pth"') == (
        f"models[0].weights: no file of weights at {suite / 'a.pth'}; relative paths start at the suite's folder, "
        "then at that of --data DIR"
    )
    assert planned(suite, 'weights = "a.pth"', root).weights == root / "a.pth"
    assert planned(suite, f'weights = "{root / "a.pth"}"').weights == root / "a.pth"
    (suite / "a.pth").write_bytes(b"beside the suite")
    assert planned(suite, 'weights = "a.pth"', root).weights == suite / "a.pth"
    assert f"at {suite / 'b.pth'} or {root / 'b.pth'}; relative" in faults(suite, 'weights = "b.pth"', root)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            'weights = "a.bin"',
            "models[0].weights: the name of a file of weights ends in .safetensors, .pth or .pt: 'a.bin'",
        ),
        (
            'arguments = { weights = "a.pth" }',
            "weights stand beside the arguments of a suite's model, as in weights = ",
        ),
        (
            'weights = "a.pth", arguments = { weights = "a.pth" }',
            "arguments.weights: 'lenet_300_100' has this among its",
        ),
        ('output_layer = "new"', "output_layer = 'new' replaces that of a file; name it by weights = 'PATH'"),
        ('weights = "a.pth", output_layer = "old"', "models[0].output_layer: Input should be 'new' (found: 'old')"),
        ('weights = "a.pth", arguments = { layer_scale = 1 }', "layer_scale changes how a network starts, but weights"),
        ('weights = "a.pth", arguments = { zero_init_last = false }', "zero_init_last changes how a network starts"),
        ('weights = "a.pth", arguments = { zero_init_head = false }', "zero_init_head changes how a network starts"),
        (
            'weight = "a.pth"',
            "models[0].weight: no such key here; did you mean 'weights'? known: name, arguments, label",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, entry, words):
    (tmp_path / "a.pth").write_bytes(b"one")
    assert words in faults(tmp_path, entry)


def test_a_new_output_layer_may_be_drawn_where_it_would_start_at_zero(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"one")
    entry = 'weights = "a.pth", output_layer = "new", arguments = { zero_init_head = false }'
    assert planned(tmp_path, entry).experiment.model.arguments["zero_init_head"] is False
