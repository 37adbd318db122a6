"""Code that has changed since records were made."""

from __future__ import annotations

import csv
import importlib
import json
import os
import sys
from functools import partial

import pytest

from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import Plugins, Provider
from lth_bench.running.code import Code, Fingerprint, mixtures
from lth_bench.storage.record import identity
from lth_bench.storage.source_hash import modules_hash, part_hash
from support.documents import whole, write_document
from support.records import planned, record
from support.suites import finish

PLUGIN = '''
"""A pruner, another one, a model and a data set in one file."""

from dataclasses import dataclass

from lth_bench import hookimpl, magnitude
from mended_helper import SIGN
from torch import nn

WIDTH = 16
CLASSES = 10


@dataclass(frozen=True)
class Mended:
    """Keeps weights by their size."""

    def __call__(self, session):
        session.prune({name: SIGN * size for name, size in magnitude(session).items()})
        session.train()


@dataclass(frozen=True)
class Other:
    """Another pruner."""

    def __call__(self, session):
        session.prune({name: 2 * size for name, size in magnitude(session).items()})
        session.train()


def make(pretrained=False, in_chans=1, num_classes=10, **kwargs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, num_classes))


def read(split, root):
    return CLASSES


@hookimpl
def register_pruners(register):
    register("mended", Mended)
    register("other", Other)


@hookimpl
def register_models(register):
    register("mended_net", make)
'''
SUITE = """
title = "Mended"
models = ["mended_net"]
datasets = ["digits"]
seeds = [0]
sparsities = [0.5]
recipe = "r"

[recipes.r]
duration = "5it"
batch_size = 64
learning_rate = 0.05

[[pruners]]
name = "mended"
controls = ["redraw"]

[[pruners]]
name = "other"
"""
PROVIDER = Provider("mended", "mended_plugin", "mended", "1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a plugin of two modules, as an installed distribution."""
    (tmp_path / "mended_plugin.py").write_text(PLUGIN)
    (tmp_path / "mended_helper.py").write_text("SIGN = 1\n")
    about = tmp_path / "mended-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mended\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[lth_bench]\nmended = mended_plugin\n")
    (tmp_path / "mended.toml").write_text(SUITE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("mended_plugin", "mended_helper"):
        sys.modules.pop(name, None)


def replace(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def hashes(*choices):
    """The fingerprints of pairs of kind and choice, by the code that now lies in the folder."""
    modules_hash.cache_clear()
    part_hash.cache_clear()
    module = importlib.import_module("mended_plugin")
    plugins = Plugins()
    plugins.pruners.add("mended", module.Mended, PROVIDER)
    plugins.pruners.add("other", module.Other, PROVIDER)
    plugins.models.add("mended_net", module.make, PROVIDER)
    plugins.models.add("narrow", partial(module.make, in_chans=3), PROVIDER)
    plugins.datasets.add("mended_data", Dataset("Mended.", 10, None, None, 1, module.read), PROVIDER)
    code = Code(plugins)
    return [code.hash(kind, choice) for kind, choice in choices or ALL]


ALL = [
    ("pruner", Choice("mended")),
    ("pruner", Choice("other")),
    ("model", Choice("mended_net")),
    ("dataset", Choice("mended_data")),
]


@pytest.mark.parametrize(
    ("file", "before", "after", "changed"),
    [
        ("mended_helper.py", "SIGN = 1", "SIGN = -1", [0]),
        ("mended_plugin.py", "2 * size", "3 * size", [1]),
        ("mended_plugin.py", "WIDTH = 16", "WIDTH = 160", [2]),
        ("mended_plugin.py", "CLASSES = 10", "CLASSES = 9", [3]),
        ("mended_plugin.py", "WIDTH = 16", "print(end='')\nWIDTH = 16", [0, 1, 2, 3]),
        ("mended_helper.py", "SIGN = 1", "SIGN  =  1  # which way", []),
        ("mended_plugin.py", '"""Another pruner."""', '"""Another pruner, told at length."""', []),
    ],
)
def test_a_fingerprint_changes_with_what_the_item_computes_alone(folder, file, before, after, changed):
    first = hashes()
    replace(folder / file, before, after)
    assert [number for number, pair in enumerate(zip(first, hashes(), strict=True)) if pair[0] != pair[1]] == changed


def test_names_that_no_syntax_shows_make_all_of_the_module_count(folder):
    replace(folder / "mended_plugin.py", "return CLASSES", 'return globals()["CLASSES"]')
    first = hashes()
    replace(folder / "mended_plugin.py", "CLASSES = 10", "CLASSES = 9")
    assert hashes() == [*first[:3], hashes()[3]]
    assert hashes()[3] != first[3]


def test_what_registers_a_partial_function_counts_with_it(folder):
    narrow = ("model", Choice("narrow"))
    before = hashes(narrow)
    replace(folder / "mended_plugin.py", "2 * size", "3 * size")
    assert hashes(narrow) != before


def test_a_file_that_arguments_name_counts(folder):
    checkpoint = folder / "weights.pth"
    checkpoint.write_bytes(b"1")
    model = ("model", Choice("mended_net", {"checkpoint_path": str(checkpoint)}))
    nested = ("model", Choice("mended_net", {"pretrained_cfg_overlay": {"file": str(checkpoint)}}))
    before = hashes(model, nested, ALL[2])
    checkpoint.write_bytes(b"2")
    after = hashes(model, nested, ALL[2])
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True]


MADE = """

def net(width):
    def made(**others):
        return width

    return made


MADE = net(16)
"""


def test_the_arguments_that_a_model_was_made_with_count(folder):
    path, found = folder / "mended_plugin.py", []
    path.write_text(path.read_text() + MADE)
    for width in (16, 64):
        replace(path, "net(16)", f"net({width})")
        modules_hash.cache_clear()
        plugins = Plugins()
        plugins.models.add("made", importlib.import_module("mended_plugin").MADE, PROVIDER)
        found.append(Code(plugins).hash("model", Choice("made")))
    assert found[0] != found[1]


def test_an_argument_may_be_too_long_for_a_path_or_name_what_cannot_be_read(folder):
    long = ("model", Choice("mended_net", {"text": "x" * 300}))
    assert hashes(long, ALL[2])[0] == hashes(ALL[2])[0]
    (folder / "secret").mkdir(mode=0)
    assert hashes(("model", Choice("mended_net", {"text": str(folder / "secret" / "file")}))) == hashes(ALL[2])


def test_models_with_different_files_are_no_mixture_of_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choices = [Choice("net", {"checkpoint_path": name}) for name in ("a.pth", "b.pth")]
    items = [planned("snip", 0.5, seed, model=choice) for seed in (0, 1) for choice in choices]
    for item, digest in zip(items, "abac", strict=True):
        code = {"model": digest * 64}
        write_document(tmp_path, whole({**record(item, 0.9), "environment": {"code": code}}))
    identities = [identity("made", item) for item in items]
    assert mixtures(tmp_path, identities[:3]) == []
    assert mixtures(tmp_path, identities) == [
        "the code of the model 'net' differs among its records: 1 of bbbbbbbb, 1 of cccccccc"
    ]


@pytest.fixture
def lth_bench(folder, monkeypatch, command):
    """The command, which finds the code that now lies in the folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))

    def call(*arguments):
        forget()
        return command(*arguments)

    return call


def forget():
    """Forgets the plugin, as a process that starts anew would."""
    for name in ("mended_plugin", "mended_helper"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    modules_hash.cache_clear()
    part_hash.cache_clear()


def fill(folder):
    """Makes the missing records of the suite by the code that now lies in the folder."""
    forget()
    finish(folder / "mended.toml", folder / "out")


def records(folder):
    """The records by label, each as its whole text."""
    texts = [path.read_text() for path in (folder / "out" / "records").iterdir()]
    return {json.loads(text)["label"]: text for text in texts}


def test_changed_code_is_refused_then_computed_again_and_a_revision_takes_the_place_of_the_old(folder, lth_bench):
    run = partial(lth_bench, "run", "mended.toml", "--out", "out", "--workers", 1, "--device", "cpu", "--no-report")
    fill(folder)
    before = records(folder)
    assert set(json.loads(before["mended, redraw"])["environment"]["code"]) == {"pruner", "control", "model", "dataset"}

    replace(folder / "mended_helper.py", "SIGN = 1", "SIGN = -1")
    refused = run()
    assert refused.returncode == 2
    assert "the code of the pruner 'mended' has changed since 2 records in out were made" in refused.stderr
    assert "'other'" not in refused.stderr
    assert records(folder) == before, "nothing is lost"

    again = run("--redo", "label == 'mended'")
    assert again.returncode == 0, again.stderr
    after = records(folder)
    assert after["other"] == before["other"]
    assert after["mended"] != before["mended"]
    assert after["mended, redraw"] != before["mended, redraw"], "a control on the ticket is computed again with it"
    aside = {path.read_text() for path in (folder / "out" / "redone").glob("*.json.*")}
    assert aside == {before["mended"], before["mended, redraw"]}

    replace(folder / "mended_helper.py", "SIGN = -1", "SIGN = 1")
    replace(folder / "mended.toml", "seeds = [0]", "seeds = [0, 1]")
    fill(folder)
    assert run().returncode == 2
    assert run("--mix-code").returncode == 0
    note = "Rows that mix results of different code of one method: mended; mended, redraw."
    assert note in lth_bench("leaderboard", "out", "--format", "md").stdout
    assert "differs among its records: 2 of " in lth_bench("status", "out").stdout

    replace(folder / "mended_plugin.py", "class Mended:", "class Mended:\n    revision = 2\n")
    fill(folder)
    assert run().returncode == 0
    newest = lth_bench("leaderboard", "out", "--format", "csv")
    methods = {row["method"] for row in csv.DictReader(newest.stdout.splitlines())}
    assert methods == {"mended, revision 2", "mended, revision 2, redraw", "other"}
    assert "4 experiments of earlier revisions are not shown" in newest.stderr
    every = lth_bench("leaderboard", "out", "--all-revisions")
    assert "mended, redraw" in every.stdout
    assert "mended, revision 2, redraw" in every.stdout


def test_a_worker_that_finds_other_code_than_the_run_began_with_does_not_begin(folder):
    importlib.import_module("mended_plugin")
    plugins = Plugins()
    plugins.pruners.add("mended", sys.modules["mended_plugin"].Mended, PROVIDER)
    modules_hash.cache_clear()
    part_hash.cache_clear()
    choice = Choice("mended")
    began = [Fingerprint("pruner", choice, Code(plugins).hash("pruner", choice))]
    assert Code(plugins).changed(began) == []
    replace(folder / "mended_helper.py", "SIGN = 1", "SIGN = 2")
    part_hash.cache_clear()
    assert Code(plugins).changed(began) == [
        "the code of the pruner 'mended' has changed since this run began; start the run again"
    ]
