"""`lth-bench analyse`, with analyses of a third party."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from lth_bench.results.analyses import analyses
from lth_bench.results.frame import load
from support.documents import read_documents
from support.places import COMMAND
from support.suites import finish, pruner, write_suite

PRUNERS = pruner("dense", sparsities=[0]) + pruner("magnitude")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysed")
    finish(write_suite(folder / "s.toml", PRUNERS, seeds=[0, 1], duration="1ep"), folder / "run")
    return folder / "run"


@pytest.fixture
def run_directory(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def call(third_party, command, monkeypatch):
    """`lth-bench analyse` in this process; its workers find the third party's package too."""
    monkeypatch.syspath_prepend(third_party)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(third_party), os.environ.get("PYTHONPATH", "")]))

    def called(*arguments, of="analyse"):
        return command(of, *arguments)

    return called


def records(directory, name):
    return {record["analysis"]["key"]: record for record in read_documents(directory / "analyses" / name)}


def test_a_third_partys_analysis_is_found_run_and_shown(run_directory, call):
    listed = call("analyses", of="list")
    assert re.search(r"largest +thirdparty-pruners 1\.2\.3 +The largest weight of a ticket", listed.stdout)
    done = call(run_directory, "largest", "--with", "power=2", "--only", "seed == 0")
    assert done.returncode == 0, done.stderr
    found = records(run_directory, "largest")
    of_magnitude = {key: record for key, record in found.items() if record["label"] == "magnitude"}
    assert len(found) == 3 and len(of_magnitude) == 2
    for record in of_magnitude.values():
        assert record["analysis"]["choice"] == {"name": "largest", "arguments": {"power": 2}, "revision": 1}
        assert [row["layer"] for row in record["findings"]["rows"]] == ["fc1.weight", "fc2.weight", "fc3.weight"]
        assert record["environment"]["plugins"]["analysis"]["distribution"] == "thirdparty-pruners"
        assert set(record["environment"]["code"]) == {"analysis", "model", "dataset"}
    assert "does not apply to 1 experiments: dense networks are not looked at" in done.stderr
    assert "Largest weights (power=2): LeNet-300-100 on digits, r" in done.stdout
    page = (run_directory / "report" / "report.html").read_text()
    assert "How large is the largest weight?" in page and "<h2>Largest weights (power=2)</h2>" in page
    assert list((run_directory / "report").glob("analysis-largest-*.svg"))
    assert "## Largest weights" in (run_directory / "report" / "report.md").read_text()
    table = call(run_directory, "--analysis", "largest", "--format", "csv", of="table")
    assert table.returncode == 0 and "fc3.weight" in table.stdout, table.stderr
    unknown = call(run_directory, "--analysis", "smallest", of="table")
    assert unknown.returncode == 2 and "no analysis 'smallest' in these results; there are: largest" in unknown.stderr


def test_a_new_ticket_adds_its_own_rows_only_and_of_a_pair_one_row_counts(run_directory, call, tmp_path):
    assert call(run_directory, "pairs", "--no-report").returncode == 0
    before = {path: path.read_bytes() for path in (run_directory / "analyses" / "pairs" / "records").iterdir()}
    assert len(before) == 6
    finish(write_suite(tmp_path / "s.toml", PRUNERS, seeds=[0, 1, 2], duration="1ep"), run_directory)
    again = call(run_directory, "pairs", "--no-report")
    assert again.returncode == 0 and "3 experiments to analyse" in again.stdout
    after = {path: path.read_bytes() for path in (run_directory / "analyses" / "pairs" / "records").iterdir()}
    assert before.items() <= after.items() and len(after) == 9
    (found,) = analyses(load(run_directory))
    pairs = {frozenset(pair) for pair in zip(found.rows["key"], found.rows["other"], strict=True)}
    assert len(found.rows) == len(pairs) == 9 * 8 / 2, "all pairs, each once"
    assert set(found.rows["other_method"]) <= {"dense", "magnitude"}


def test_an_analysis_that_is_killed_goes_on_with_what_the_store_has(run_directory, call, tmp_path):
    gate = tmp_path / "gate"
    done = call(run_directory, "trains", "--with", f"gate={gate}", "--only", "sparsity == 0 and seed == 0")
    assert done.returncode == 0, done.stderr
    assert gate.exists(), "its worker was killed between the two trainings, and another one went on"
    (record,) = records(run_directory, "trains").values()
    steps = record["timing"]["steps_computed"], record["timing"]["steps_looked_up"]
    assert record["findings"]["rows"][0]["order"] == 0 and steps[0] == 0
    assert sum(event["steps"] for work in record["findings"]["work"] for event in work["events"]) == steps[1]
    events = [json.loads(line) for line in (run_directory / "analyses/trains/journal.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["claimed", "lost", "claimed", "published"]


def test_two_runners_share_the_work(run_directory, call):
    words = [COMMAND, "analyse", str(run_directory), "trains", "--no-report", "--workers", "1"]
    other = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    mine = call(run_directory, "trains", "--no-report", "--workers", 1)
    printed, _ = other.communicate(timeout=250)
    assert (mine.returncode, other.returncode) == (0, 0), mine.stderr + printed
    lines = (run_directory / "analyses" / "trains" / "journal.jsonl").read_text().splitlines()
    published = [event for event in map(json.loads, lines) if event["event"] == "published"]
    assert len(published) == len({event["key"] for event in published}) == 6


def test_a_fault_is_a_record_and_is_tried_again(run_directory, call):
    only = ("--only", "seed == 0 and sparsity == 0", "--no-report")
    done = call(run_directory, "wrong", *only)
    words = "failed: dense · LeNet-300-100 · digits · 0 · seed 0: ZeroDivisionError at thirdparty/analyses.py"
    assert done.returncode == 1 and words in done.stderr
    (record,) = records(run_directory, "wrong").values()
    assert record["status"] == "failed" and record["error"]["exception"] == "ZeroDivisionError"
    again = call(run_directory, "wrong", *only)
    assert again.returncode == 1 and "1 experiments to analyse" in again.stdout
    assert len(list((run_directory / "analyses" / "wrong" / "failures").iterdir())) == 1


def test_a_fault_of_a_table_or_a_figure_stands_in_its_place(run_directory, call):
    done = call(run_directory, "wrong", "--with", "how=table")
    assert done.returncode == 0, done.stderr
    page = (run_directory / "report" / "report.html").read_text()
    assert "as its own table could not be made: RuntimeError: no table" in page
    assert "could not be drawn: RuntimeError: no figure" in " ".join(page.split())


def test_unusable_input_is_refused_with_a_sentence(run_directory, call, tmp_path):
    for arguments, words in (
        ([tmp_path / "nowhere", "largest"], "there is no run directory"),
        ([tmp_path, "largest"], "no experiment in"),
        ([run_directory, "larges"], "no analysis 'larges'; did you mean 'largest'"),
        ([run_directory, "largest", "--with", "power=two"], "power"),
        ([run_directory, "largest", "--with", "size=2"], "size: no such parameter of 'largest'"),
        ([run_directory, "largest", "--only", "seed == 7"], "leaves none of the 6 experiments"),
    ):
        done = call(*arguments)
        assert done.returncode == 2 and words in done.stderr, (arguments, done.stderr)
    for ticket in (run_directory / "tickets").iterdir():
        ticket.unlink()
    done = call(run_directory, "largest")
    assert done.returncode == 2 and f"no tickets in {run_directory}/tickets" in done.stderr
    assert call(run_directory, "pairs", "--no-report").returncode == 0, "records are enough for it"
