"""What `status` says of a record is what `run` does."""

from __future__ import annotations

import os
import shutil

import pytest

from lth_bench.errors import FileFault
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.limits import size
from lth_bench.running.queue import Queue
from lth_bench.running.standing import CONSEQUENCES, FINAL, standing
from lth_bench.running.status import missing, survey
from lth_bench.storage.record import identity
from lth_bench.storage.records import record_path, record_paths, ticket_path
from lth_bench.storage.sealed import publish_json, read_json
from support.suites import finish, pruner, write_suite

FAILURE = {"kind": "plugin_error", "message": "it failed", "traceback": ""}
SEEDS = {"done": 0, "diverged": 1, "failed": 2, "quarantined": 3, "damaged": 4, "missing": 5}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A suite of one pruner and six seeds, and its finished run directory."""
    folder = tmp_path_factory.mktemp("finished")
    path = write_suite(folder / "s.toml", pruner("random"), seeds=[*range(6)], sparsities=[0.5], duration="10it")
    finish(path, folder / "out")
    return path, folder / "out"


@pytest.fixture
def states(finished, tmp_path):
    """The suite, a copy of its directory with a record in every state, and the identity of each state."""
    path, out = finished
    directory = tmp_path / "out"
    shutil.copytree(out, directory)
    plugins = load_plugins()
    name, content = read_suite(str(path), plugins)
    seeds = {item.experiment.seed: identity(name, item) for item in plan(content, plugins)}
    identities = {state: seeds[seed] for state, seed in SEEDS.items()}
    for state, one in identities.items():
        change(record_path(directory, one.key), state)
    return path, directory, identities


def change(path, state):
    """Brings a record that is done into another state."""
    content = read_json(path)
    errors = {
        "diverged": {"kind": "diverged", "message": "a loss of nan", "step": 3},
        "failed": FAILURE,
        "quarantined": FAILURE | {"quarantined": True},
    }
    if state in errors:
        status = "diverged" if state == "diverged" else "failed"
        publish_json(path, {**content, "status": status, "error": errors[state]})
    elif state == "damaged":
        path.write_bytes(path.read_bytes()[:-20])
    elif state == "missing":
        path.unlink()
    elif state == "another schema":
        publish_json(path, {**content, "schema": 2})
    elif state == "another kind of field":
        publish_json(path, {**content, "events": "none"})


def test_every_state_is_told_as_it_is(states):
    _, directory, identities = states
    assert {state: standing(directory, one.key).state for state, one in identities.items()} == {s: s for s in SEEDS}
    assert {item.key: item.state for item in survey(directory)} == {one.key: s for s, one in identities.items()}


def test_a_run_repeats_what_status_says_and_nothing_else(states, command):
    path, directory, identities = states
    before = {state: read(directory, one.key) for state, one in identities.items()}
    told = command("status", directory).stdout
    assert all(f"{state} " in told and words in " ".join(told.split()) for state, words in shown(SEEDS))
    done = command("run", path, "--out", directory)
    assert "3 of 6 experiments to run" in done.stdout and done.returncode == 1, "two of them have no result"
    again = ("failed", "damaged", "missing")
    assert {state for state, one in identities.items() if read(directory, one.key) != before[state]} == set(again)
    assert all(standing(directory, identities[state].key).state == "done" for state in again)
    (aside,) = (directory / "damaged").iterdir()
    assert aside.name.startswith(identities["damaged"].key) and aside.read_bytes() == before["damaged"]
    (failure,) = (directory / "failures").iterdir()
    assert failure.name.startswith(identities["failed"].key) and failure.read_bytes() == before["failed"]


def shown(states):
    return [(state, words) for state, words in CONSEQUENCES.items() if state in states]


def read(directory, key):
    path = record_path(directory, key)
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("another schema", "has schema 2; this version reads 1: use the version of lth-bench that wrote it"),
        (
            "another kind of field",
            "does not have the fields of a record: Expected `array | null`, got `str` - at `$.events`",
        ),
    ],
)
def test_a_record_of_another_kind_stops_the_run_and_is_never_touched(states, command, state, words):
    path, directory, identities = states
    key = identities["done"].key
    change(record_path(directory, key), state)
    before = {record.name: record.read_bytes() for record in record_paths(directory)}
    told = " ".join(command("status", directory).stdout.split())
    assert f"unreadable 1 {CONSEQUENCES['unreadable']}" in told and words in told
    for arguments in (("run", path, "--out", directory), ("plan", path, "--out", directory)):
        done = command(*arguments)
        assert done.returncode == 2 and words in " ".join(done.stderr.split())
    with pytest.raises(FileFault):
        missing(directory, list(identities.values()))
    with pytest.raises(FileFault):
        Queue(directory, [identities["done"]], None, 60)
    assert before == {record.name: record.read_bytes() for record in record_paths(directory)}
    assert not (directory / "damaged").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="whoever is root can read everything")
def test_a_record_that_may_not_be_read_stops_the_run(states):
    _, directory, identities = states
    record_path(directory, identities["done"].key).chmod(0)
    assert standing(directory, identities["done"].key).state == "unreadable"
    with pytest.raises(FileFault, match="cannot read"):
        missing(directory, list(identities.values()))


def test_files_of_other_names_are_no_experiments_and_no_leases(states):
    _, directory, identities = states
    for folder, name in (("records", "notes.txt"), ("records", "x" * 255), ("leases", f"{'x' * 253}.1")):
        (directory / folder).mkdir(exist_ok=True)
        (directory / folder / name).touch()
    assert {item.key for item in survey(directory)} == {one.key for one in identities.values()}
    assert Queue(directory, [identities["missing"]], None, 60).next(lambda *event: None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_a_ticket_that_is_no_file_is_unsound(tmp_path, make):
    path = write_suite(tmp_path / "s.toml", pruner("random", controls=["redraw"]), sparsities=[0.5], duration="10it")
    finish(path, tmp_path / "out")
    name, content = read_suite(str(path), plugins := load_plugins())
    base, control = (identity(name, item) for item in plan(content, plugins))
    record_path(tmp_path / "out", control.key).unlink()
    ticket_path(tmp_path / "out", base.key).unlink()
    make(ticket_path(tmp_path / "out", base.key))
    assert missing(tmp_path / "out", [base, control]) == [base, control]


@pytest.mark.parametrize("text", ["0GB", "-1GB", f"{'9' * 400}GB", "8", "8 apples", ""])
def test_a_limit_that_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="a limit is a number with a unit, such as '10MB'"):
        size(text)


def test_the_states_that_no_run_changes_are_final():
    assert set(FINAL) == {"done", "diverged", "quarantined"}
    assert {"failed", "damaged", "unreadable"} == set(CONSEQUENCES) - set(FINAL)
