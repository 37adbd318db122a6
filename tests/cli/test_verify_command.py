"""`lth-bench verify`, as a user would call it."""

from __future__ import annotations

import json
import shutil

import pytest

from lth_bench.storage.files import publish
from lth_bench.storage.records import read_record, record_path, record_paths, suite_copy
from lth_bench.storage.sealed import read_json
from lth_bench.storage.verified import confirmed, verification_paths
from support.forgeries import forge, improve
from support.places import ROOT
from support.suites import finish, pruner, write_suite


@pytest.fixture
def board(tmp_path):
    return shutil.copytree(ROOT / "leaderboards" / "patterns-mnist", tmp_path / "board")


def test_a_sound_board_passes(board, command):
    done = command("verify", board)
    assert (done.returncode, done.stdout) == (0, f"{board}: plan, records and tables agree\n")


def test_a_table_that_is_not_of_the_records_is_named(board, command):
    table = board / "leaderboard.csv"
    table.write_text(table.read_text().replace("dense", "mine"))
    done = command("verify", board)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert f"{table} is not the table that lth-bench report writes of these records" in done.stdout


def test_faults_are_listed_by_directory_as_json(board, command):
    min((board / "records").glob("*.json")).unlink()
    done = command("verify", "--json", board, ROOT / "leaderboards" / "patterns-mnist")
    (missing,), none = json.loads(done.stdout).values()
    assert (done.returncode, none) == (1, [])
    assert "was planned and has no record" in missing


def test_a_folder_without_records_is_refused(tmp_path, command):
    done = command("verify", tmp_path)
    assert done.returncode == 2
    assert f"no records in {tmp_path}" in done.stderr


@pytest.fixture
def finished(tmp_path):
    """A run of two methods, with its tickets."""
    suite = write_suite(tmp_path / "small.toml", pruner("random") + pruner("magnitude"), sparsities=[0.5])
    finish(suite, tmp_path / "run")
    publish(suite_copy(tmp_path / "run", "small"), suite.read_bytes())
    return tmp_path / "run"


def test_tickets_are_evaluated_and_experiments_run_again(finished, tmp_path, command):
    options = ("--evaluate", "--rerun", 1, "--again", tmp_path / "again", "--note", "A. Reader")
    done = command("verify", finished, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{finished}: 2 of 2 results were evaluated again from their tickets\n" in done.stdout
    assert f"{finished}: of 1 experiments that were run again, 1 gave the same bits\n" in done.stdout
    (note,) = verification_paths(finished)
    assert str(note) in done.stdout and read_json(note)["by"] == "A. Reader"
    assert sorted(confirmed(finished).values()) == ["evaluated", "same"]
    path = record_paths(finished)[0]
    forge(path, lambda record: record["timing"].update(seconds=1.0))
    again = command("verify", finished)
    assert (again.returncode, len(confirmed(finished))) == (1, 1)
    assert f"{note}: what A. Reader confirmed was another record {path.stem} than the one here" in again.stdout


def test_an_accuracy_forged_with_all_that_follows_from_it_is_found_by_its_ticket_and_by_another_run(
    finished, tmp_path, command
):
    path = record_paths(finished)[0]
    record = read_record(path)
    improve(finished)
    assert command("verify", finished).returncode == 0
    done = command("verify", finished, "--evaluate")
    assert done.returncode == 1 and f"{path}: its ticket gets {record.test.last.accuracy:.2%} of 400" in done.stdout
    done = command("verify", finished, "--rerun", 2, "--again", tmp_path / "again")
    assert done.returncode == 1
    found = f"{read_record(path).test.last.accuracy:.2%} in the record, {record.test.last.accuracy:.2%} now"
    assert f"{path}: test differ in the same environment: {found}" in done.stdout
    assert record_path(tmp_path / "again" / "run", path.stem).exists()


def test_a_note_of_nothing_and_a_run_without_tickets_are_refused(board, finished, command):
    done = command("verify", finished, "--note", "A. Reader")
    assert done.returncode == 2 and "give one of them" in done.stderr
    done = command("verify", board, finished, "--evaluate")
    assert done.returncode == 2 and f"no tickets in {board}" in done.stderr
    assert f"{finished}: plan, records and tables agree" in done.stdout


SIGNED = """
from dataclasses import dataclass

from lth_bench import hookimpl, magnitude

open({marker!r}, "w").close()


@dataclass(frozen=True)
class Signed:
    def __call__(self, session):
        session.prune(magnitude(session), session.sparsity)
        session.train()


@hookimpl
def register_pruners(register):
    register("signed", Signed)
"""


def test_the_code_of_a_directory_runs_only_if_it_is_named(tmp_path, command):
    marker = tmp_path / "was run"
    file = tmp_path / "signed.py"
    file.write_text(SIGNED.format(marker=str(marker)))
    suite = write_suite(tmp_path / "small.toml", pruner("signed"), sparsities=[0.5])
    run = tmp_path / "run"
    assert command("run", suite, "--out", run, "--plugin", file, "--no-report").returncode == 0
    (copy,) = (run / "plugins").glob("*.py")
    marker.unlink()
    done = command("verify", run)
    assert (done.returncode, marker.exists()) == (1, False)
    assert "its plan cannot be made again: " in done.stdout
    assert done.stdout.endswith(f"(read {copy}, and name it by --plugin)\n")
    done = command("verify", run, "--plugin", copy, "--evaluate", "--rerun", 1, "--again", tmp_path / "again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 gave the same bits" in done.stdout and marker.exists()
    board = tmp_path / "boards"
    assert command("submit", run, "--to", board, "--author", "A. Author").returncode == 0
    assert (board / "run" / "plugins" / "signed.py").exists()
    assert command("site", board, "--out", tmp_path / "site").returncode == 0
    assert "signed" in (tmp_path / "site" / "index.html").read_text()
