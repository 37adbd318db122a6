"""Records as a table: one row an experiment, missing ones included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lth_bench.experiment import Experiment, from_json, without_defaults
from lth_bench.files import FileFault, canonical, sha256
from lth_bench.records import read_plan, read_records
from lth_bench.suite import label

BLOCK = ["dataset", "model"]
METHOD = [*BLOCK, "method", "asked"]
PRESENTATION = ("label", "recipe", "own_recipe")


@dataclass(frozen=True)
class Results:
    """The records of a run directory, and the same as a table."""

    records: list[dict[str, Any]]
    frame: pd.DataFrame


def load(directory: Path) -> Results:
    """Reads a run directory once; raises FileFault."""
    records, planned = read_records(directory), read_plan(directory)
    if not records and not planned:
        raise FileFault(f"no records in {directory}")
    return Results(records, tabulated(records, planned))


def results(directory: Path) -> pd.DataFrame:
    """The table of a run directory; raises FileFault."""
    return load(directory).frame


def tabulated(recorded: list[dict[str, Any]], plan: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for every record, and one with status "missing" for every planned experiment without a record, in
    the order of the plan.

    Accuracies in per cent; `difference` is to the dense run (sparsity 0) of the same data, model, recipe and seed, in
    points; where a method's own recipe has no dense run, to that of the suite's recipe.
    """
    records = {record["key"]: record for record in recorded}
    planned = {entry["key"]: entry | {"status": "missing"} for entry in plan}
    named = {key: {name: entry[name] for name in PRESENTATION} for key, entry in planned.items()}
    rows = [_row(record | named.get(key, {})) for key, record in (planned | records).items()]
    return _with_difference(_distinct(pd.DataFrame(rows)))


def shared(records: list[dict[str, Any]]) -> tuple[int, int]:
    """Steps of training that were computed for these records, and those that experiments on their own would need.

    Only records that say what was computed count.
    """
    told = [record for record in records if "steps_computed" in record.get("timing", {})]
    charged = sum(event["steps"] for record in told for event in record.get("events", []))
    return sum(record["timing"]["steps_computed"] for record in told), charged


def dense_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that others are compared with: those at sparsity 0; where several are, the first counts."""
    return frame[(frame["asked"] == 0) & (frame["control"] == "")]


def _distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """Names that stand for several methods get their parameters behind them, then hashes of recipe and of all."""
    for more in ("parameters", "recipe_hash", "meaning"):
        meanings = frame.groupby([*BLOCK, "method"])["meaning"].transform("nunique")
        longer = frame["method"] + " [" + frame[more] + "]"
        frame = frame.assign(method=frame["method"].where(meanings == 1, longer))
    return frame


def _row(record: dict[str, Any]) -> dict[str, Any]:
    try:
        experiment = from_json(record["experiment"])
    except ValueError as error:
        raise FileFault(f"the record {record['key']} describes no experiment: {error}") from error
    return {
        "key": record["key"],
        "dataset": label(experiment.dataset),
        "model": label(experiment.model),
        "recipe": record["recipe"],
        "own_recipe": record["own_recipe"],
        "method": record["label"],
        "parameters": label(experiment.pruner),
        "meaning": _meaning(experiment),
        "recipe_hash": _hash(without_defaults(experiment.recipe)),
        "control": experiment.control.name if experiment.control else "",
        "asked": experiment.sparsity,
        "seed": experiment.seed,
        "status": record["status"],
        "sparsity": record.get("sparsity", {}).get("measured"),
        **_accuracies(record.get("test", {})),
        "steps": sum(event["steps"] for event in record.get("events", [])),
        "environment": _environment(record.get("environment", {})),
        "unfit": "; ".join(record.get("unfit", [])),
        "data": " ".join(digest[:8] for digest in record.get("data", {}).values())
        if record["status"] == "done"
        else "",
    }


def _meaning(experiment: Experiment) -> str:
    """What tells methods apart that have one name."""
    parts = (experiment.pruner, experiment.control, experiment.recipe, experiment.origin)
    return _hash([without_defaults(part) for part in parts])


def _environment(environment: dict[str, Any]) -> str:
    """What may change the numbers of a run: they are comparable within one of these."""
    names = ("lth-bench", "torch", "timm", "device", "threads")
    return ", ".join(f"{name} {environment[name]}" for name in names if name in environment)


def _hash(value: Any) -> str:
    return sha256(canonical(value).encode())[:8]


def _accuracies(test: dict[str, Any]) -> dict[str, Any]:
    """Accuracies in per cent at the last, the best-validation and the early-stop step, and those steps."""
    points = {name: test.get(name) or {} for name in ("last", "best_validation", "early_stop")}
    accuracies = {f"{name}_accuracy": 100 * point.get("accuracy", float("nan")) for name, point in points.items()}
    steps = {f"{name}_step": point.get("step", float("nan")) for name, point in points.items()}
    return {**accuracies, **steps, "censored": points["early_stop"].get("censored", False)}


def _with_difference(frame: pd.DataFrame) -> pd.DataFrame:
    dense = dense_runs(frame)
    difference = pd.Series(float("nan"), index=frame.index)
    for place, runs in (([*BLOCK, "recipe_hash", "seed"], dense), ([*BLOCK, "seed"], dense[~dense["own_recipe"]])):
        reference = runs.drop_duplicates(place).set_index(place)["last_accuracy"]
        found = reference.reindex(pd.MultiIndex.from_frame(frame[place])).to_numpy()
        difference = difference.fillna(frame["last_accuracy"] - found)
    return frame.assign(difference=difference)
