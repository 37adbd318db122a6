"""Records made for the purpose, with only what tables read."""

from __future__ import annotations

import dataclasses

from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment, Planned
from lth_bench.experiments.recipe import Recipe
from lth_bench.results.frame import results
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.records import write_plan
from support.documents import entry, write_document

RECIPE = Recipe(Duration("10it"), 5, 0.1)
DENSE = Experiment(Choice("digits"), Choice("lenet_300_100"), RECIPE, Choice("dense"), 0.0, 0)


def planned(label, sparsity, seed, own=False, **changes):
    experiment = dataclasses.replace(DENSE, pruner=Choice(label), sparsity=sparsity, seed=seed, **changes)
    return Planned(experiment, label, "long" if own else "r", own)


def record(item, accuracy, measured=None, **changes):
    """A record with only what tables read."""
    point = {"accuracy": accuracy, "loss": 1.0, "step": 10, "censored": False}
    return {
        **entry(item),
        "status": "done",
        "sparsity": {"measured": item.experiment.sparsity if measured is None else measured},
        "test": {"last": point, "best_validation": point, "early_stop": point},
        "events": [{"steps": 10}],
        "ticket": {"step": 0, "sha256": ""},
        "timing": {"seconds": 1.0},
        **changes,
    }


def write_run(folder, rows, make=record):
    """Writes a plan and its records: rows of (planned, accuracy, status, or what a record has of its own)."""
    write_plan(folder, "made", [item for item, _ in rows])
    for item, value in rows:
        if isinstance(value, float):
            write_document(folder, make(item, value))
        elif isinstance(value, dict):
            write_document(folder, make(item, 0.9, **value))
        elif value != "missing":
            error = {"kind": "plugin_error", "message": f"a | <b>{value}</b>", "traceback": ""}
            write_document(folder, {**entry(item), "status": value, "error": error})


def recorded(tmp_path, rows):
    """The leaderboards of a run directory of (planned, accuracy or status)."""
    write_run(tmp_path, rows)
    return summarise(results(tmp_path))
