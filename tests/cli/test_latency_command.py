"""`lth-bench latency` on tickets of a small suite."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time

import pytest
from typer.testing import CliRunner

from lth_bench.cli.main import app
from lth_bench.machine import processors
from lth_bench.reports.latencies import formatted, tables
from lth_bench.reports.prose import report
from lth_bench.reports.report import compare, write_report
from lth_bench.results.frame import load
from lth_bench.results.latencies import latencies
from lth_bench.results.leaderboard import summarise
from lth_bench.speed.engines import ENGINES, Engine
from lth_bench.storage.latency import latency_paths
from lth_bench.storage.records import recorded, ticket_path
from support.suites import finish, pruner, write_suite

QUICK = ("--seconds", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latency")
    l1_filter = pruner("l1_filter", arguments={"layers": "all", "branches": "all"})
    suite = write_suite(folder / "s.toml", pruner("magnitude") + l1_filter, seeds=[1, 0], duration="1ep", rate=0.01)
    finish(suite, folder / "run")
    return folder / "run"


def call(*arguments):
    return CliRunner().invoke(app, ["latency", *map(str, arguments), *QUICK])


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_run_directory_is_measured_at_one_seed_and_its_records_stay_as_they_are(directory, tmp_path):
    before = {path: path.read_bytes() for path in (directory / "records").iterdir()}
    done = call(
        directory, "--engine", "csr", "--engine", "thin", "--batch", 1, "--batch", 8, "--out", tmp_path / "x.csv"
    )
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in (directory / "records").iterdir()} == before
    found = rows(tmp_path / "x.csv")
    assert len(found) == 2 * 2 * 2 * 2 and len(latency_paths(directory)) == 4
    assert {row["seed"] for row in found} == {"0"} and {row["threads"] for row in found} == {"1"}
    timed = [row for row in found if not row["reason"]]
    assert {(row["engine"], row["batch"]) for row in timed} == {(engine, b) for engine in ("csr", "thin") for b in "18"}
    for row in timed:
        speedup, theory = float(row["speedup"]), float(row["theoretical_speedup"])
        assert float(row["speedup_lower"]) <= speedup <= float(row["speedup_upper"])
        assert float(row["of_theoretical"]) == pytest.approx(speedup / theory, rel=1e-4)
        assert theory == pytest.approx(1 / (1 - float(row["sparsity"])), rel=1e-3)
    reasons = {(row["method"], row["engine"]): row["reason"] for row in found if row["reason"]}
    assert reasons == {("magnitude", "thin"): "not applicable: its method removes no channels"}


def test_methods_and_sparsities_are_chosen(directory, tmp_path):
    done = call(directory, "--methods", "magnitude", "--at", "90%", "--engine", "csr", "--out", tmp_path / "x.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "x.json").read_text())
    assert [(row["method"], row["sparsity"], row["batch"]) for row in found] == [
        ("magnitude", pytest.approx(0.9, abs=1e-3), batch) for batch in (1, 64)
    ]


def test_the_page_shows_measured_speed_only_where_it_was_measured(directory, tmp_path):
    assert call(directory, "--methods", "magnitude", "--engine", "csr", "--batch", 1).exit_code == 0
    write_report(compare(load(directory)), tmp_path)
    shown = (tmp_path / "report.html").read_text()
    assert "<h2>Measured speed</h2>" in shown and "pruned linear layers as sparse matrices" in shown
    without = shutil.copytree(directory, tmp_path / "run", ignore=shutil.ignore_patterns("latency"))
    write_report(compare(load(without)), tmp_path)
    assert "Measured speed" not in (tmp_path / "report.html").read_text()


def test_one_experiment_is_measured_by_its_key_on_threads_of_its_own(directory, tmp_path):
    key = recorded(directory)[0]
    done = call(
        key,
        "--from",
        directory,
        "--engine",
        "csr",
        "--threads",
        processors(),
        "--batch",
        1,
        "--out",
        tmp_path / "x.csv",
    )
    assert done.exit_code == 0, done.output
    assert {(row["key"], row["threads"]) for row in rows(tmp_path / "x.csv")} == {(key, str(processors()))}


def test_what_is_slower_than_dense_is_shown_as_such(directory, monkeypatch):
    def slow(whole, threads):
        return lambda images: time.sleep(0.01) or whole.network(images)

    monkeypatch.setitem(ENGINES, "slow", Engine(slow))
    done = call(directory, "--methods", "magnitude", "--at", "50%", "--engine", "slow", "--batch", 1)
    assert done.exit_code == 0, done.output
    row = r"magnitude +50% +slow +1 +1 +0\.\S+ ms +1\d\.\S* ms +0\.0\S+ × \[0\.0\S+, 0\.0\S+\] +2 × +0\.0\d"
    assert re.search(row, done.output) and "(slower)" in done.output


def test_tables_say_what_their_engines_are(directory):
    done = call(directory, "--methods", "magnitude", "--at", "50%", "--engine", "csr", "--batch", 1)
    assert "Engines: csr: pruned linear layers as sparse matrices, by torch." in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("bounds", "words"),
    [((0.7, 0.6, 0.8), "0.7 × [0.6, 0.8] (slower)"), ((1.01, 0.9, 1.1), "1.01 × [0.9, 1.1] (≈ dense)"),
     ((2.0, 1.9, 2.1), "2 × [1.9, 2.1]")],
)  # fmt: skip
def test_cells_say_slower_or_near_dense(directory, bounds, words):
    call(directory, "--methods", "magnitude", "--engine", "csr", "--batch", 1)
    table = latencies(load(directory)).query("engine == 'csr'").head(1)
    verdict = "slower" if bounds[2] < 1 else "faster" if bounds[1] > 1 else "not told from dense"
    table = table.assign(
        **dict(zip(("speedup", "speedup_lower", "speedup_upper"), bounds, strict=True)), verdict=verdict
    )
    assert tables(table)[0].rows[0].cells[7].shown == words
    assert words in formatted(table, "md")


def test_the_report_has_measured_speed_where_it_was_measured(directory):
    call(directory, "--methods", "magnitude", "--engine", "csr", "--batch", 1)
    results = load(directory)
    text = report(results, summarise(results.frame), [], [])
    assert "## Measured speed\n\n### LeNet-300-100 on digits" in text
    assert re.search(r"\| magnitude +\| 90% +\| csr +\| 1 ", text)


def test_a_ticket_that_is_damaged_is_named_and_the_others_are_measured(directory, tmp_path):
    frame = load(directory).frame
    victim = ticket_path(directory, frame.loc[frame["seed"] == 0, "key"].iloc[0])
    content = victim.read_bytes()
    victim.write_bytes(content[:-1])
    try:
        done = call(directory, "--engine", "csr", "--batch", 3, "--out", tmp_path / "x.csv")
    finally:
        victim.write_bytes(content)
    assert done.exit_code == 1 and victim.stem in done.output
    assert len(rows(tmp_path / "x.csv")) == 3


def test_latencies_of_a_damaged_file_are_left_out_of_the_tables(directory):
    path = latency_paths(directory)[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b"csr", b"cso"))
    try:
        results = load(directory)
        assert set(latencies(results)["key"]) < set(results.frame["key"])
        assert [trouble.status for trouble in results.evidence.left_out] == ["damaged"]
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{}", "--engine", "warp"), "no engine 'warp'; known: dense, thin, onnxruntime"),
        (("{}", "--batch", "0"), "--batch"),
        (("{}", "--threads", "0"), "--threads"),
        (("{}", "--threads", "1000000"), "more than the"),
        (("{}", "--methods", "magic"), "no method 'magic'"),
        (("{}", "--at", "77%"), "no method was asked for a sparsity of 77%"),
        (("{}", "--at", "much"), "wants sparsities such as 98%"),
        (("{}", "--out", "x.pdf"), "does not end in one of .md, .csv, .json"),
        (("nowhere",), "no run directory nowhere"),
        (("abc", "--from", "{}"), "has a key that begins with 'abc'"),
    ],
)
def test_bad_input_gets_a_sentence_and_status_2(directory, arguments, words):
    done = call(*(text.format(directory) for text in arguments))
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_a_directory_without_tickets_is_refused(directory):
    kept = (directory / "tickets").rename(directory / "elsewhere")
    try:
        done = call(directory)
    finally:
        kept.rename(directory / "tickets")
    assert done.exit_code == 2 and "no tickets of pruned networks" in done.output
