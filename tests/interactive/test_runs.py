"""Runs and Sessions from Python."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

import lth_bench
from lth_bench.cli import terminal
from lth_bench.errors import FileFault, SuiteError, UnknownName
from support.suites import results

SUITE = {
    "title": "From Python",
    "models": ["lenet_300_100"],
    "datasets": ["digits"],
    "seeds": [0],
    "sparsities": [0.5],
    "recipe": "r",
    "recipes": {"r": {"duration": "3it", "batch_size": 64, "learning_rate": 0.05}},
    "pruners": [{"name": "magnitude"}, {"name": "signed"}],
}
SIGNED = """
from dataclasses import dataclass
from lth_bench import hookimpl

@dataclass(frozen=True)
class Signed:
    def __call__(self, session):
        session.prune({name: SIGN * weight.detach() for name, weight in session.weights.items()})
        session.train()

@hookimpl
def register_pruners(register):
    register("signed", Signed)
"""
RECIPE = lth_bench.Recipe(lth_bench.Duration("3it"), 64, 0.05)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`lth_bench.run` in an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return lambda suite=SUITE, **options: lth_bench.run(suite, **{"workers": 1, "device": "cpu", **options})


def test_a_method_written_by_a_cell_runs_and_an_edit_of_it_in_the_same_process_is_noticed(run, tmp_path, capfd):
    (tmp_path / "signed.py").write_text(SIGNED.replace("SIGN", "1"))
    records = run(plugins=["signed.py"])
    assert [(record.label, record.status) for record in records] == [("magnitude", "done"), ("signed", "done")]
    printed = capfd.readouterr()
    assert "2/2" in printed.err and printed.out == "" and (tmp_path / "runs/from-python/records").is_dir()
    (tmp_path / "signed.py").write_text(SIGNED.replace("SIGN", "-1"))
    with pytest.raises(SuiteError, match="the code of the pruner 'signed' has changed since 1 record"):
        run(plugins=["signed.py"])
    (again,) = run(plugins=["signed.py"], redo="pruner == 'signed'", only="pruner == 'signed'")
    assert again.status == "done" and again.environment.code["pruner"] != records[1].environment.code["pruner"]
    assert again.test.last.loss != records[1].test.last.loss
    assert not terminal.out.quiet and not terminal.err.quiet


def test_a_dict_a_file_and_the_command_make_the_same_records(run, tmp_path, command):
    suite = {**SUITE, "pruners": [{"name": "magnitude", "label": 'a "quoted" Ω'}], "sparsities": [0.5, 0.9]}
    records = run(suite, out="dict")
    assert {record.experiment.sparsity for record in records} == {0.5, 0.9}
    done = command("run", tmp_path / "dict/suites/from-python.toml", "--out", "file", "--workers", 1, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "dict") == results(tmp_path / "file")
    assert records[0].label == 'a "quoted" Ω'


def test_a_method_that_fails_has_a_record_with_its_error(run, tmp_path):
    (tmp_path / "signed.py").write_text(SIGNED.replace("SIGN", "absent"))
    failed = run(plugins=["signed.py"], only="pruner == 'signed'", mix_code=True)
    assert [record.status for record in failed] == ["failed"]
    assert failed[0].error.exception == "NameError" and failed[0].error.place.endswith("signed.py:8")


@pytest.mark.parametrize(
    ("suite", "options", "error", "sentence"),
    [
        ("nonesuch", {}, SuiteError, "no suite 'nonesuch'; known: "),
        (SUITE, {}, SuiteError, "no pruner 'signed'"),
        (SUITE, {"plugins": ["absent.py"]}, FileFault, "there is no plugin file absent.py"),
        (
            {**SUITE, "seeds": None},
            {},
            SuiteError,
            "a suite holds texts, numbers, truth values, lists and dicts, not None",
        ),
        ({**SUITE, "pruners": ["magnitude"]}, {"only": "speed > 3"}, SuiteError, "--only 'speed > 3': "),
        ({**SUITE, "pruners": ["magnitude"]}, {"device": "tpu"}, SuiteError, "no device 'tpu'; known: auto, cpu, cuda"),
    ],
)
def test_what_cannot_run_raises_the_sentence_of_the_command(suite, options, error, sentence, run, tmp_path, capfd):
    with pytest.raises(error) as raised:
        run(suite, **options)
    assert sentence in str(raised.value) and "/tmp" not in str(raised.value)
    assert capfd.readouterr() == ("", "") and not (tmp_path / "runs").exists()


def test_a_session_is_that_of_an_experiment(run):
    (record,) = run({**SUITE, "pruners": ["magnitude"]})
    session = lth_bench.session("lenet_300_100", "digits", RECIPE, 0.5)
    began = session.snapshot()
    session.train()
    session.prune(lth_bench.magnitude(session))
    ticket = lth_bench.load_ticket("runs/from-python", record.key)
    assert all(torch.equal(mask, session.masks[name]) for name, mask in ticket.masks.items())
    session.rewind(began)
    assert session.step == 0


def test_a_session_takes_arguments_patterns_and_seeds():
    table = {"name": "mlp", "arguments": {"widths": [16]}}
    session = lth_bench.session(table, "digits", RECIPE, "2:4", seed=3)
    assert list(session.shapes.values()) == [(16, 64), (10, 16)] and session.pattern.kept == 2
    other = lth_bench.session(table, "digits", RECIPE, "2:4")
    assert not torch.equal(session.weights["fc1.weight"], other.weights["fc1.weight"])


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"model": "nonesuch"}, SuiteError, "models: timm knows no model 'nonesuch'; close: "),
        ({"model": {"nam": "mlp"}}, SuiteError, "model.name: "),
        ({"dataset": "nonesuch"}, UnknownName, "no dataset 'nonesuch'; known: "),
        ({"dataset": "mnist"}, SuiteError, "datasets: MNIST needs a data root that holds MNIST/raw/"),
        ({"dataset": "mnist", "data": "/nowhere"}, SuiteError, "/nowhere/MNIST/raw"),
        ({"recipe": "nonesuch"}, UnknownName, "no recipe 'nonesuch'"),
        ({"sparsity": 1.0}, SuiteError, "sparsity: Input should be less than 1 (found: 1.0)"),
        ({"sparsity": 0.999999}, SuiteError, "would leave none of the"),
    ],
)
def test_a_session_that_cannot_be_has_a_sentence(change, error, sentence):
    with pytest.raises(error) as raised:
        lth_bench.session(**{"model": "lenet_300_100", "dataset": "digits", "recipe": RECIPE, **change})
    assert sentence in str(raised.value)


SCRIPT = """
import json, sys, lth_bench
suite = json.loads(sys.argv[1])
try:
    records = lth_bench.run(suite, out="run", workers=1, device="cpu")
except KeyboardInterrupt:
    print("stopped")
else:
    print(*[record.status for record in records])
"""


def test_an_interrupted_run_goes_on_with_the_same_call(tmp_path):
    long = {**SUITE["recipes"]["r"], "duration": "800it"}
    suite = {**SUITE, "seeds": [0, 1, 2], "recipes": {"r": long}, "pruners": ["magnitude"]}
    command = [sys.executable, "-c", SCRIPT, json.dumps(suite)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    records = tmp_path / "run" / "records"
    while process.poll() is None and not list(records.glob("*.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[0] == "stopped\n" and process.returncode == 0
    assert 1 <= len(list(records.glob("*.json"))) < 3
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.stdout == "done done done\n", again.stderr
