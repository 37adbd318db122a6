"""Run directories as forgers would change them, every file sealed anew, and what `lth-bench verify` says of them."""

from __future__ import annotations

import shutil

from lth_bench.storage.records import plan_path, record_paths, suite_copy
from lth_bench.storage.sealed import publish_json, read_json


def forge(path, change):
    content = read_json(path)
    change(content)
    publish_json(path, content)


def improve(run):
    """Gives the first record a better accuracy that nothing in the directory contradicts."""

    def better(record):
        record["test"].pop("answers", None)
        for point in filter(None, record["test"].values()):
            point["accuracy"] = min(1, round(max(record["curve"]["validation_accuracy"]) + 0.1, 2))

    forge(first(run), better)


def first(run):
    return record_paths(run)[0]


FORGERIES = {
    "an impossible accuracy": (
        lambda run: forge(first(run), lambda r: r["test"]["last"].update(accuracy=1.1)),
        "an accuracy of 1.1 cannot be",
    ),
    "fewer weights": (lambda run: forge(first(run), lambda r: r["sparsity"].update(kept=1)), "the whole network 1"),
    "a higher sparsity": (lambda run: forge(first(run), lambda r: r["sparsity"].update(measured=1.0)), "of its counts"),
    "another seed": (lambda run: forge(first(run), lambda r: r["experiment"].update(seed=9)), "has the key"),
    "another key": (lambda run: first(run).rename(first(run).with_stem("0" * 20)), "record of another experiment"),
    "a dropped record": (lambda run: first(run).unlink(), "was planned and has no record"),
    "a dropped row": (
        lambda run: forge(plan_path(run), lambda plan: plan["experiments"].pop()),
        "has a record and was never planned",
    ),
    "a renamed row": (
        lambda run: forge(plan_path(run), lambda plan: plan["experiments"][0].update(label="mine")),
        "has another label than in",
    ),
    "another suite": (
        lambda run: suite_copy(run, run.name).write_text(
            suite_copy(run, run.name).read_text().replace("seeds = [0", "seeds = [7, 0")
        ),
        "and was not planned",
    ),
    "damage": (lambda run: first(run).write_bytes(first(run).read_bytes()[:-9]), "is not a record of lth-bench"),
    "a failure": (
        lambda run: forge(
            first(run),
            lambda r: r.update(status="failed", error={"kind": "oom", "message": "no room", "traceback": ""}),
        ),
        "failed: no room",
    ),
    "no suite": (lambda run: shutil.rmtree(run / "suites"), "cannot read the suite file"),
}
