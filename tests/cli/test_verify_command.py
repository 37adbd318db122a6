"""`lth-bench verify`, as a user would call it."""

from __future__ import annotations

import json
import shutil

import pytest

from support.places import ROOT


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
