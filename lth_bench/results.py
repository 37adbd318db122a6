"""Records as a table: one row an experiment, missing ones included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lth_bench.experiment import from_json
from lth_bench.files import FileFault
from lth_bench.records import read_plan, read_records
from lth_bench.suite import label

BLOCK = ["dataset", "model", "recipe"]
METHOD = [*BLOCK, "method", "asked"]


def results(directory: Path) -> pd.DataFrame:
    """One row for every record, and one with status "missing" for every planned experiment without a record, in
    the order of the plan.

    Accuracies in per cent; `difference` is to the dense run (sparsity 0) of the same block and seed, in points.
    """
    records = {record["key"]: record for record in read_records(directory)}
    planned = {entry["key"]: entry | {"status": "missing"} for entry in read_plan(directory)}
    rows = [_row(record) for record in (planned | records).values()]
    return with_difference(_distinct(pd.DataFrame(rows)))


def _distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """Names methods that share a label by their parameters too, so that no row of a table mixes two of them."""
    shared = frame.loc[frame.duplicated([*METHOD, "seed"], keep=False), "method"].unique()
    longer = frame["method"] + " [" + frame["parameters"] + "]"
    named = frame.assign(method=frame["method"].where(~frame["method"].isin(shared), longer))
    if (mixed := named.duplicated([*METHOD, "seed"])).any():
        row = named[mixed].iloc[0]
        raise FileFault(
            f"two records are both {row['method']!r} at {row['asked']}, seed {row['seed']}: {row['key']} and "
            "another differ in their recipe; give the recipes different names"
        )
    return named


def _row(record: dict[str, Any]) -> dict[str, Any]:
    experiment = from_json(record["experiment"])
    return {
        "key": record["key"],
        "dataset": label(experiment.dataset),
        "model": label(experiment.model),
        "recipe": record["recipe"],
        "own_recipe": record["own_recipe"],
        "method": record["label"],
        "parameters": label(experiment.pruner),
        "control": experiment.control.name if experiment.control else "",
        "asked": experiment.sparsity,
        "seed": experiment.seed,
        "status": record["status"],
        "sparsity": record.get("sparsity", {}).get("measured"),
        **_accuracies(record.get("test", {})),
        "steps": sum(event["steps"] for event in record.get("events", [])),
    }


def _accuracies(test: dict[str, Any]) -> dict[str, Any]:
    """Accuracies in per cent at the last, the best-validation and the early-stop step, and those steps."""
    points = {name: test.get(name) or {} for name in ("last", "best_validation", "early_stop")}
    accuracies = {f"{name}_accuracy": 100 * point.get("accuracy", float("nan")) for name, point in points.items()}
    steps = {f"{name}_step": point.get("step", float("nan")) for name, point in points.items()}
    return {**accuracies, **steps, "censored": points["early_stop"].get("censored", False)}


def with_difference(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the difference in last accuracy to the dense run of the same data, model and seed."""
    dense = frame[(frame["asked"] == 0) & (frame["control"] == "")]
    reference = dense.groupby(["dataset", "model", "seed"])["last_accuracy"].mean()
    wanted = pd.MultiIndex.from_frame(frame[["dataset", "model", "seed"]])
    return frame.assign(difference=frame["last_accuracy"].to_numpy() - reference.reindex(wanted).to_numpy())
