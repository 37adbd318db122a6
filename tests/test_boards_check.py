"""The check of pull requests that add boards, on a good one and on forged ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lth_bench.storage.files import publish
from lth_bench.storage.records import suite_copy
from support.forgeries import FORGERIES, improve
from support.places import ROOT
from support.suites import finish, pruner, write_suite

BEFORE = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
BIN = Path(sys.executable).parent


def git(folder, *words):
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=folder, check=True, env=BEFORE)


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """A repository with an empty commit, and a board that was added since."""
    folder = tmp_path_factory.mktemp("repository")
    suite = write_suite(folder.parent / "small.toml", pruner("random") + pruner("magnitude"), sparsities=[0.5])
    run = folder.parent / "run"
    finish(suite, run)
    publish(suite_copy(run, "small"), suite.read_bytes())
    shutil.rmtree(run / "tickets")
    submit = [BIN / "lth-bench", "submit", run, "--to", folder / "leaderboards", "--name", "small", "--author", "A."]
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "before")
    subprocess.run(submit, check=True)
    return folder


@pytest.fixture
def repository(submitted, tmp_path):
    return shutil.copytree(submitted, tmp_path / "repository")


def check(repository, count):
    git(repository, "add", ".")
    environment = {**BEFORE, "PATH": f"{BIN}:{BEFORE['PATH']}"}
    words = [ROOT / ".github" / "check-boards", "HEAD", str(count)]
    return subprocess.run(words, cwd=repository, env=environment, capture_output=True, text=True)


def test_a_good_board_passes_and_its_table_is_shown(repository):
    done = check(repository, 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "### leaderboards/small\n" in done.stdout
    assert "of 1 experiments that were run again, 1 gave the same bits" in done.stdout
    assert "| magnitude" in done.stdout or "| one-shot magnitude" in done.stdout


@pytest.mark.parametrize("name", [name for name in FORGERIES if name != "a failure"])
def test_a_forged_board_fails(name, repository):
    change, words = FORGERIES[name]
    change(repository / "leaderboards" / "small")
    done = check(repository, 0)
    assert done.returncode == 1 and words in done.stdout, done.stdout + done.stderr


def test_an_accuracy_that_nothing_contradicts_fails_as_it_is_run_again(repository):
    board = repository / "leaderboards" / "small"
    improve(board)
    subprocess.run([BIN / "lth-bench", "report", board, "--out", repository.parent / "report"], check=True)
    assert check(repository, 0).returncode == 0
    done = check(repository, 2)
    assert done.returncode == 1 and "test differ in the same environment" in done.stdout, done.stdout


def test_a_note_of_verification_of_a_board_of_ones_own_fails(repository):
    publish(repository / "leaderboards" / "small" / "verified" / "me.json", b"{}")
    done = check(repository, 0)
    assert done.returncode == 1 and "take them out" in done.stdout


def test_a_table_that_was_changed_by_hand_fails(repository):
    table = repository / "leaderboards" / "small" / "leaderboard.md"
    table.write_text(table.read_text().replace("0.5", "0.9").replace("magnitude", "mine"))
    done = check(repository, 0)
    assert done.returncode == 1 and "is not the table that lth-bench report writes" in done.stdout
