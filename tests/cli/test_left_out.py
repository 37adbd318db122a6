"""Commands on a run directory with files that cannot be used."""

from __future__ import annotations

import pytest

from lth_bench.results.frame import load
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.records import plan_path, record_path
from lth_bench.storage.sealed import publish_json, read_json
from support.records import planned, write_run

READERS = ["leaderboard", "table", "report"]


@pytest.fixture
def board(tmp_path):
    """Two methods at three seeds; the worst seed of the better one is damaged, and one record has another schema."""
    rows = [(planned(name, 0.5, seed), 0.8 + seed / 100) for name in ("imp", "snip") for seed in range(3)]
    folder = tmp_path / "board"
    write_run(folder, rows)
    damaged, other = (record_path(folder, rows[number][0].experiment.key) for number in (0, 5))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    publish_json(other, {**read_json(other), "schema": 2})
    return folder, damaged, other


@pytest.mark.parametrize("name", READERS)
def test_what_cannot_be_used_is_named_and_its_seed_counts_as_missing(command, board, tmp_path, name):
    folder, damaged, other = board
    done = command(name, folder, *(["--out", tmp_path / "report"] if name == "report" else []))
    told = " ".join(done.stderr.split())
    assert done.returncode == 1 and "Traceback" not in told
    assert f"damaged, left out of the tables: {damaged} is not a record" in told
    assert f"unreadable, left out of the tables: {other} has schema 2; this version reads 1" in told
    rows = summarise(load(folder).frame).rows
    assert rows["n"].tolist() == [2, 2] and rows["missing"].tolist() == [1, 1] and rows["rank"].isna().all()


def test_a_report_lists_what_it_was_made_without(command, board, tmp_path):
    folder, damaged, _ = board
    command("report", folder, "--out", tmp_path / "report")
    for name in ("report.md", "report.html"):
        text = (tmp_path / "report" / name).read_text()
        assert damaged.stem in text and "is not a record of lth-bench" in text.replace("&#39;", "'")


@pytest.mark.parametrize("name", READERS)
def test_a_directory_without_a_record_of_use_is_refused(command, board, tmp_path, name):
    folder, *_ = board
    for path in (folder / "records").iterdir():
        path.write_text("{}")
    done = command(name, folder)
    assert done.returncode == 2 and f"no records in {folder}" in done.stderr and done.stdout == ""
    assert done.stderr.count("is not a record") == 6


def test_the_state_of_a_directory_names_its_records_and_its_plan(command, board):
    folder, damaged, other = board
    plan_path(folder).write_bytes(b"[" * 100_000)
    done = command("status", folder)
    told = " ".join(done.stdout.split())
    assert done.returncode == 1 and done.stderr == ""
    for words in (f"damaged: {damaged.stem}", f"unreadable: {other.stem}", "damaged: plan.json"):
        assert words in told


def test_nothing_that_strangers_wrote_steers_the_terminal(command, board):
    folder, _, other = board
    publish_json(other, {**read_json(other), "schema": 1, "status": "\x1b[2J\x1b]0;title\x07"})
    for name in ("leaderboard", "status"):
        done = command(name, folder)
        assert "\\x1b[2J" in done.stdout + done.stderr and "\x1b[2J" not in done.stdout + done.stderr


def test_a_suite_is_read_from_its_folder_alone(command, board, tmp_path):
    folder, _, other = board
    (tmp_path / "secret.toml").write_text('title = "a secret of this machine"')
    publish_json(other, {**read_json(other), "schema": 1, "suite": "../../secret"})
    plan_path(folder).unlink()
    done = command("report", folder, "--out", tmp_path / "report")
    assert done.returncode == 1 and "a secret" not in (tmp_path / "report" / "report.html").read_text()


def test_more_cells_than_a_table_can_have_are_refused(command, tmp_path):
    items = [planned(f"m{number}", (number + 0.5) / 200, 0) for number in range(150)]
    write_run(tmp_path, [(items[0], 0.9), *((item, "missing") for item in items[1:])])
    done = command("leaderboard", tmp_path)
    assert done.returncode == 2 and "150 methods at 150 sparsities" in done.stderr
