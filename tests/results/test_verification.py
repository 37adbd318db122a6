"""Forged run directories are found out; the published ones are sound."""

from __future__ import annotations

import re
import shutil

import pytest

from lth_bench.errors import FileFault
from lth_bench.experiments.plugins import load_plugins
from lth_bench.hashing import sha256
from lth_bench.results.verification import faults_of
from lth_bench.storage.files import publish
from lth_bench.storage.records import packages_path, plan_path, record_paths, suite_copy
from lth_bench.storage.sealed import read_json
from support.forgeries import forge
from support.places import ROOT

BOARD = ROOT / "leaderboards" / "moons"
PLUGINS = load_plugins()
PUBLISHED = re.search(r"^SUITES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


@pytest.fixture
def board(tmp_path):
    return shutil.copytree(BOARD, tmp_path / "moons")


def trained(board, pruner="imp", seed=0):
    """The first record of a pruned and trained network."""
    for path in record_paths(board):
        experiment = read_json(path)["experiment"]
        if (experiment["pruner"]["name"], experiment["seed"], experiment["control"]) == (pruner, seed, None):
            return path
    raise LookupError(pruner)


def other_seed(board, path, seed):
    """The record of the same experiment with another seed."""
    wanted = {**read_json(path)["experiment"], "seed": seed}
    return next(one for one in record_paths(board) if read_json(one)["experiment"] == wanted)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_boards_are_sound(name):
    assert faults_of(ROOT / "leaderboards" / name, PLUGINS) == []


def a_layer(record):
    return next(iter(record["sparsity"]["layers"].values()))


FORGERIES = [
    ("another experiment", lambda r: r["experiment"].update(sparsity=0.123), "its experiment has the key "),
    ("another seed", lambda r: r["experiment"].update(seed=99), "its experiment has the key "),
    ("another recipe", lambda r: r["experiment"]["recipe"].update(learning_rate=1.0), "its experiment has the key "),
    ("sparsity", lambda r: r["sparsity"].update(measured=0.999), "of its counts follows"),
    ("total", lambda r: r["sparsity"].update(kept=1), "the whole network 1"),
    ("size", lambda r: r["sparsity"].update(prunable=10**6), "the whole network 1000000"),
    ("layer", lambda r: a_layer(r).update(kept=0), "layers have"),
    ("more than the mask", lambda r: a_layer(r).update(kept=a_layer(r)["mask"] + 1), "weights under its mask"),
    ("more on paths than there are", lambda r: a_layer(r).update(effective=10**6), "has 1000000 weights on paths"),
    ("collapse", lambda r: r["sparsity"].update(collapsed=["fc1.weight"]), "its counts []"),
    ("asked", lambda r: r["sparsity"].update(asked=0.99), "and says 0.99"),
    ("accuracy", lambda r: r["test"]["last"].update(accuracy=0.9999), "are the same step"),
    ("impossible accuracy", lambda r: r["test"]["last"].update(accuracy=1.1), "an accuracy of 1.1 cannot be"),
    ("late ticket", lambda r: r["ticket"].update(step=10**6), "its ticket is of step 1000000"),
    ("late result", lambda r: r["test"]["best_validation"].update(step=10**6), "is of step 1000000, after the last"),
    ("no curve", lambda r: r.pop("curve"), "it is done without curve"),
    ("no data", lambda r: r.pop("data"), "it is done without data"),
    ("no ticket", lambda r: r.pop("ticket"), "it is done without ticket"),
    ("uneven curve", lambda r: r["curve"]["kept"].pop(), "differ in length"),
    ("impossible curve", lambda r: r["curve"]["validation_accuracy"].__setitem__(0, 2.0), "outside 0 to 1"),
    ("a share of no image", lambda r: r["test"].update(answers={"images": 7, "right": "/g=="}), "no share of 7 images"),
    ("no bits", lambda r: r["test"].update(answers={"images": 7, "right": "!"}), "its answers cannot be read"),
    (
        "too many bits",
        lambda r: r["test"].update(answers={"images": 7, "right": "//8="}),
        "2 bytes are not the answers",
    ),
    (
        "other answers",
        lambda r: r["test"].update(answers={"images": 10**4, "right": 1667 * "A" + "="}),
        "0 of 10000 answers",
    ),
    (
        "a leap",
        lambda r: (
            [p.update(accuracy=1.0) for p in r["test"].values() if p]
            and r["curve"].update(validation_accuracy=[0.5] * len(r["curve"]["step"]))
        ),
        "an accuracy of 100.00%, where its curve reaches 50.00%",
    ),
    ("an error", lambda r: r.update(error={"kind": "oom", "message": ""}), "it is done with an error"),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in FORGERIES], ids=[case[0] for case in FORGERIES])
def test_a_forged_record_is_found_out(board, change, words):
    path = trained(board)
    forge(path, change)
    found = faults_of(board, PLUGINS)
    assert any(str(path) in fault and words in fault for fault in found), found


def test_a_record_that_is_not_sealed_anew_is_damaged(board):
    path = trained(board)
    path.write_bytes(path.read_bytes().replace(b'"measured":0', b'"measured":1', 1))
    assert any(str(path) in fault and "damaged" in fault for fault in faults_of(board, PLUGINS))


def test_a_dropped_record_is_missed(board):
    path = trained(board)
    path.unlink()
    assert any(f"({path.stem}) was planned and has no record" in fault for fault in faults_of(board, PLUGINS))


def test_a_seed_that_is_dropped_from_the_plan_too_is_missed(board):
    path = trained(board, seed=1)
    path.unlink()
    forge(
        plan_path(board),
        lambda plan: plan.update(experiments=[e for e in plan["experiments"] if e["key"] != path.stem]),
    )
    assert any(
        f"({path.stem}) is in {suite_copy(board, 'moons')} and was not planned" in fault
        for fault in faults_of(board, PLUGINS)
    )


def test_a_record_that_was_never_planned_is_found(board):
    path = trained(board)
    forge(
        plan_path(board),
        lambda plan: plan.update(experiments=[e for e in plan["experiments"] if e["key"] != path.stem]),
    )
    assert any(f"({path.stem}) has a record and was never planned" in fault for fault in faults_of(board, PLUGINS))


def test_a_seed_copied_from_another_is_found(board):
    path = trained(board)
    other = other_seed(board, path, 1)
    forge(other, lambda record: record.update({name: read_json(path)[name] for name in ("curve", "test", "sparsity")}))
    (fault,) = faults_of(board, PLUGINS)
    assert "has every loss of seed" in fault


def test_analyses_are_of_tickets_of_the_board(board):
    analysed = next((board / "analyses" / "boundary" / "records").glob("*.json"))
    forge(analysed, lambda record: record["analysis"].update(ticket="0" * 64))
    assert any(str(analysed) in fault and "another ticket" in fault for fault in faults_of(board, PLUGINS))
    forge(analysed, lambda record: record["analysis"].update(key="0" * 20))
    assert any(str(analysed) in fault and "has no result here" in fault for fault in faults_of(board, PLUGINS))
    forge(analysed, lambda record: record.pop("analysis"))
    assert any(str(analysed) in fault and "is none" in fault for fault in faults_of(board, PLUGINS))


def test_without_records_or_plan_there_is_nothing_to_verify(board):
    plan_path(board).unlink()
    with pytest.raises(FileFault, match="no plan in"):
        faults_of(board, PLUGINS)
    shutil.rmtree(board / "records")
    with pytest.raises(FileFault, match="no records in"):
        faults_of(board, PLUGINS)


def test_what_no_suite_asks_for_is_found(board):
    """A row that was added to plan and records, and a suite that was changed afterwards."""
    copy = suite_copy(board, "moons")
    copy.write_text(copy.read_text().replace("seeds = [0, 1, 2", "seeds = [1, 2"))
    found = faults_of(board, PLUGINS)
    assert found and all(f"is none of {copy}" in fault and "seed 0" in fault for fault in found)
    copy.write_text('title = "Moons"')
    assert all("its plan cannot be made again: " in fault for fault in faults_of(board, PLUGINS))
    copy.unlink()
    (fault,) = faults_of(board, PLUGINS)
    assert f"cannot read the suite file {copy}" in fault


def test_a_row_under_another_name_is_found(board):
    forge(plan_path(board), lambda plan: plan["experiments"][0].update(label="mine"))
    (fault,) = faults_of(board, PLUGINS)
    assert fault.endswith(f"has another label than in {suite_copy(board, 'moons')}")


def test_a_plan_that_is_damaged_is_one_fault(board):
    plan_path(board).write_text("{")
    (fault,) = faults_of(board, PLUGINS)
    assert str(plan_path(board)) in fault and "damaged" in fault


def test_the_packages_of_records_are_there(board):
    path = trained(board)
    digest = sha256(b"torch==0\n")
    forge(path, lambda record: record["environment"].update(packages=digest))
    (fault,) = faults_of(board, PLUGINS)
    assert f"{packages_path(board, digest)} is absent, the packages with which 1 records were made" in fault
    publish(packages_path(board, digest), b"torch==0\n")
    assert faults_of(board, PLUGINS) == []
    publish(packages_path(board, digest), b"torch==1\n")
    (fault,) = faults_of(board, PLUGINS)
    assert "is another list of packages than that of 1 records" in fault
