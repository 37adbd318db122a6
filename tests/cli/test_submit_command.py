"""`lth-bench submit`, as an author would call it, on good and on forged run directories."""

from __future__ import annotations

import shutil

import pytest

from lth_bench.storage.files import publish
from lth_bench.storage.records import record_paths, suite_copy
from lth_bench.storage.submission import Submission, read_submission
from support.forgeries import FORGERIES, forge, improve
from support.places import ROOT
from support.suites import finish, pruner, write_suite


@pytest.fixture
def run(tmp_path):
    """A run directory as it is after a run, with what is not published."""
    directory = shutil.copytree(ROOT / "leaderboards" / "patterns-mnist", tmp_path / "runs" / "patterns-mnist")
    for name in ("store", "leases", "logs"):
        (directory / name).mkdir()
    return directory


def test_a_complete_run_becomes_a_board_that_passes(run, tmp_path, command):
    words = ("--author", "A. Author", "--paper", "arXiv:1803.03635", "--source", "https://example.org/mine")
    done = command("submit", run, "--to", tmp_path / "boards", *words)
    assert done.returncode == 0, done.stderr
    board = tmp_path / "boards" / "patterns-mnist"
    assert done.stdout.startswith(f"{board}: ") and "plan, records and tables agree" in done.stdout
    assert not {"store", "leases", "logs"} & {path.name for path in board.iterdir()}
    found = read_submission(board)
    assert found == Submission(1, "A. Author", found.version, "arXiv:1803.03635", "https://example.org/mine")
    assert (board / "leaderboard.md").read_text() == (run / "leaderboard.md").read_text()
    assert command("verify", board).returncode == 0


def test_a_board_grows_and_loses_nothing(run, tmp_path, command):
    submit = ("submit", run, "--to", tmp_path / "boards", "--author", "A. Author")
    assert command(*submit).returncode == command(*submit).returncode == 0
    path = record_paths(run)[0]
    forge(path, lambda record: record["timing"].update(seconds=1.0))
    done = command(*submit)
    assert done.returncode == 2
    assert f"has 1 records that {run} lacks or has with other content, the first records/{path.name}" in done.stderr
    assert command(*submit, "--name", "another").returncode == 0
    assert command("submit", run, "--to", run.parent, "--author", "A. Author").returncode == 2


def test_tickets_are_evaluated_before_they_are_left_behind(tmp_path, command):
    suite = write_suite(tmp_path / "small.toml", pruner("random"), sparsities=[0.5])
    run = tmp_path / "run"
    finish(suite, run)
    publish(suite_copy(run, "small"), suite.read_bytes())
    submit = ("submit", run, "--to", tmp_path / "boards", "--author", "A. Author")
    done = command(*submit)
    assert done.returncode == 0 and f"{run}: 1 of 1 results were evaluated again" in done.stdout
    assert not (tmp_path / "boards" / "run" / "tickets").exists()
    improve(run)
    done = command(*submit, "--name", "forged")
    assert done.returncode == 1 and "its ticket gets" in done.stderr


@pytest.mark.parametrize("name", FORGERIES)
def test_what_cannot_be_verified_is_not_submitted(name, run, tmp_path, command):
    change, words = FORGERIES[name]
    change(run)
    done = command("submit", run, "--to", tmp_path / "boards", "--author", "A. Author")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert not (tmp_path / "boards").exists()
