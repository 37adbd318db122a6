"""What `lth-bench run --observe` and `lth-bench observe` refuse, and how they end."""

from __future__ import annotations

import sys

import pytest

from support.suites import finish, pruner, write_suite
from support.trackers import events, install


@pytest.fixture
def call(command, monkeypatch, tmp_path):
    """`lth-bench` in this process, with the observers of the tests."""
    site = tmp_path / "site"
    site.mkdir()
    for folder in reversed(install(site).split(":")):
        monkeypatch.syspath_prepend(folder)
    return command


@pytest.fixture
def directory(tmp_path):
    suite = write_suite(tmp_path / "s.toml", pruner("magnitude"), duration="1ep", sparsities=[0.9])
    finish(suite, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("observer", "words"),
    [
        ("tensorbord", "no observer 'tensorbord'; did you mean 'tensorboard'?"),
        ("nothing-like-it", "known: absent, faulty, lines, mlflow, tensorboard, wandb"),
        ("", "no observer ''"),
        ("wandb folder", "an option wants NAME=VALUE, such as uri=mlruns, not 'folder'"),
        ("wandb folders=x", "folders: no such parameter of 'wandb'; did you mean 'folder'?"),
        ("wandb mode=loud", "mode: Input should be 'offline' or 'online' (found: 'loud')"),
        ('wandb "folder=x', "No closing quotation"),
        ("absent", "needs the package 'no_such_tracker', which is not installed: pip install 'third-party[tracker]'"),
        ("mlflow", "needs the package 'mlflow', which is not installed: pip install 'lth-bench[mlflow]'"),
    ],
)
def test_an_observer_that_cannot_be_used_is_refused_before_anything_starts(
    call, tmp_path, observer, words, monkeypatch
):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    suite = write_suite(tmp_path / "s.toml", pruner("magnitude"))
    for command in (("run", suite, "--out", tmp_path / "run", "--observe", observer), ("observe", tmp_path, observer)):
        done = call(*command)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_finished_experiments_are_told_as_if_they_had_just_been_run(call, directory, tmp_path):
    done = call("observe", directory, "lines", "lines", f"lines folder={tmp_path / 'there'}")
    assert done.returncode == 0 and done.stdout == f"lines: 1 experiments of {directory}/\n" * 2
    (path,) = (directory / "trackers" / "lines").iterdir()
    assert [event["type"] for event in events(path)] == ["measured", "pruned", "measured", "finished"]
    assert (tmp_path / "there" / path.name).read_text() == path.read_text()


def test_a_failing_observer_is_a_sentence(call, directory):
    done = call("observe", directory, "faulty how=raises")
    assert done.returncode == 1 and done.stderr.startswith("observer 'faulty' has failed: ValueError at ")
    assert done.stderr.endswith("it cannot show this\n")


def test_without_finished_experiments_there_is_nothing_to_tell(call, tmp_path):
    done = call("observe", tmp_path / "run", "lines")
    assert done.returncode == 2 and "no experiment in" in done.stderr


def test_observers_are_listed(call):
    listed = call("list", "observers").stdout
    assert "Weights & Biases: offline by default" in listed and "lines" in listed
