"""Records as a table: one row an experiment, missing ones included."""

from __future__ import annotations

import gc
import marshal
import math
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any, cast

import pandas as pd

from lth_bench.costs import Costing
from lth_bench.experiment import Experiment, from_json, without_defaults
from lth_bench.files import FileFault, canonical, sha256
from lth_bench.records import read_plan, read_record, record_paths
from lth_bench.suite import label

BLOCK = ["dataset", "model", "recipe"]
METHOD = [*BLOCK, "method", "asked"]
PRESENTATION = ("suite", "label", "recipe", "own_recipe")
NOWHERE = float("nan")
POINTS = ("last", "best_validation", "early_stop")
COSTS = [
    "training_flops",
    "training_flops_dense",
    "inference_flops",
    "inference_share",
    "theoretical_speedup",
    "parameters",
    "bytes_dense",
    "bytes_bitmap",
    "bytes_csr",
]
MANY = 5000  # records, from which number on all processors read them
ENVIRONMENT = ("lth-bench", "python", "torch", "timm", "device", "threads", "system")


@dataclass
class Evidence:
    """What a table rests on: suites, versions and machines, steps of training, seconds in workers, and troubles.

    Each trouble is a record that is not done, as far as it says what went wrong.
    """

    suites: set[str] = field(default_factory=set)
    environment: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in ENVIRONMENT})
    computed: int = 0
    charged: int = 0
    seconds: float = 0.0
    troubles: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        self.suites.add(record["suite"])
        environment, timing = record.get("environment", {}), record.get("timing", {})
        for name, counts in self.environment.items():
            if name in environment:
                counts[str(environment[name])] += 1
        if "steps_computed" in timing:  # only records that say what was computed count
            self.computed += timing["steps_computed"]
            self.charged += sum(event["steps"] for event in record.get("events", []))
        self.seconds += timing.get("seconds", 0.0)
        if record["status"] != "done":
            self.troubles.append({name: record[name] for name in ("key", "label", "status", "error")})

    def include(self, more: Evidence) -> None:
        self.suites |= more.suites
        for name, counts in more.environment.items():
            self.environment[name] += counts
        self.computed += more.computed
        self.charged += more.charged
        self.seconds += more.seconds
        self.troubles += more.troubles


@dataclass(frozen=True)
class Results:
    """Run directories as one table, what it rests on, and its recipes by their hash."""

    directories: list[Path]
    frame: pd.DataFrame
    evidence: Evidence
    recipes: dict[str, dict[str, Any]]

    def records(self) -> Iterator[dict[str, Any]]:
        """The records once more, one after the other: all of them together may not fit into memory."""
        return (read_record(path) for directory in self.directories for path in record_paths(directory))


def load(directory: Path) -> Results:
    """Reads a run directory once; raises FileFault."""
    planned = {entry["key"]: entry for entry in read_plan(directory)}
    paths = record_paths(directory)
    if not paths and not planned:
        raise FileFault(f"no records in {directory}")
    names = {key: {name: entry[name] for name in PRESENTATION} for key, entry in planned.items()}
    evidence, reader, tables = Evidence(), _Reader(), []
    for table, more, recipes in _read_in_parts(paths, names):
        evidence.include(more)
        reader.recipes |= recipes
        tables.append(table)
    recorded = {path.stem for path in paths}
    missing = [reader.row(entry | {"status": "missing"}) for key, entry in planned.items() if key not in recorded]
    rows = pd.concat([*tables, *([_frame(missing)] if missing else [])], ignore_index=True)
    place = {key: number for number, key in enumerate([*planned, *(path.stem for path in paths)][::-1])}
    ordered = rows.iloc[rows["key"].map(place).argsort(kind="stable")[::-1]].reset_index(drop=True)
    return Results([directory], completed(ordered), evidence, reader.recipes)


Part = tuple[pd.DataFrame, Evidence, dict[str, dict[str, Any]]]


def _read_in_parts(paths: list[Path], names: dict[str, dict[str, Any]]) -> Iterator[Part]:
    """Tables of these records, what they rest on, and their recipes; many are read by all processors."""
    workers = os.cpu_count() or 1
    alone = len(paths) < MANY or workers == 1 or "fork" not in get_all_start_methods()
    size = max(1, len(paths) if alone else math.ceil(len(paths) / workers / 2))
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]
    known = [{path.stem: names[path.stem] for path in part if path.stem in names} for part in parts]
    if alone:
        yield from map(_read_part, parts, known)
        return
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        yield from pool.map(_read_part, parts, known)


def _read_part(paths: list[Path], names: dict[str, dict[str, Any]]) -> Part:
    evidence, reader, rows = Evidence(), _Reader(), []
    with _no_collection():
        for path in paths:
            record = read_record(path)
            evidence.add(record)
            rows.append(reader.row(record | names.get(path.stem, {})))
        return _frame(rows), evidence, reader.recipes


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows that all have the same names, column by column, which is twice as fast as row by row."""
    return pd.DataFrame({name: [row[name] for row in rows] for name in rows[0]} if rows else {})


@contextmanager
def _no_collection() -> Iterator[None]:
    """Inside, nobody looks for garbage in cycles: records have none, and the looking takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def results(directory: Path) -> pd.DataFrame:
    """The table of a run directory; raises FileFault.

    One row for every record, and one with status "missing" for every planned experiment without a record, in the order
    of the plan. Accuracies in per cent; `difference` is to the dense run (sparsity 0) of the same data, model, recipe
    and seed, in points; where a method's own recipe has no dense run, to that of the suite's recipe.
    """
    return load(directory).frame


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with what they have from each other: the leaderboard they belong to, distinct names, differences."""
    return _with_difference(_distinct(_placed(rows.assign(method=rows["label"]))))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as one dict a row."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))


def dense_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that others are compared with: those at sparsity 0; where several are, the first counts."""
    return frame[(frame["asked"] == 0) & (frame["control"] == "")]


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """The recipe of the leaderboard to which each row belongs: where it has one of its own, that of its suite."""
    within = ["suite", "dataset", "model"]
    usual = rows[~rows["own_recipe"]].drop_duplicates(within).set_index(within)[["trained_with", "recipe_hash"]]
    found = usual.reindex(pd.MultiIndex.from_frame(rows[within])).reset_index(drop=True).set_index(rows.index)
    own = ~rows["own_recipe"] | found["recipe_hash"].isna()
    name = rows["trained_with"].where(own, found["trained_with"])
    digest = rows["recipe_hash"].where(own, found["recipe_hash"])
    several = digest.groupby([rows["dataset"], rows["model"], name]).transform("nunique") > 1
    return rows.assign(recipe=name.where(~several, name + " [" + digest + "]"), board_hash=digest)


def _distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """Names that stand for several methods get their parameters behind them, then hashes of recipe and of all."""
    for more in ("parameters_of", "recipe_hash", "meaning"):
        meanings = frame.groupby([*BLOCK, "method"])["meaning"].transform("nunique")
        longer = frame["method"] + " [" + frame[more] + "]"
        frame = frame.assign(method=frame["method"].where(meanings == 1, longer))
    return frame


class _Reader:
    """Makes rows of records; what many of them share is understood once."""

    def __init__(self) -> None:
        self.recipes: dict[str, dict[str, Any]] = {}
        self._known: dict[bytes, dict[str, Any]] = {}
        self._costs = Costing()
        self._texts: dict[str, str] = {}

    def row(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._row(record)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise FileFault(f"the record {record['key']} is not as records are: {words}") from error

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        experiment = record["experiment"]
        shared = marshal.dumps(experiment | {"sparsity": 0.0, "seed": 0}, 2)  # five times as fast as JSON
        if shared not in self._known:
            self._known[shared] = self._about(from_json(experiment))
        return {
            "key": record["key"],
            "suite": self._one(record["suite"]),
            **self._known[shared],
            "trained_with": self._one(record["recipe"]),
            "own_recipe": record["own_recipe"],
            "label": self._one(record["label"]),
            "asked": float(experiment["sparsity"]),
            "seed": int(experiment["seed"]),
            "status": self._one(record["status"]),
            **_measures(record),
            **(dict.fromkeys(COSTS, NOWHERE) | (self._costs(record) if record["status"] == "done" else {})),
            "environment": self._one(_environment(record.get("environment", {}))),
            "unfit": self._one("; ".join(record.get("unfit", []))),
            "data": self._one(_data(record)),
        }

    def _about(self, experiment: Experiment) -> dict[str, Any]:
        recipe = without_defaults(experiment.recipe)
        self.recipes[_hash(recipe)] = recipe
        base = experiment.base
        return {
            "dataset": label(experiment.dataset),
            "model": label(experiment.model),
            "parameters_of": label(experiment.pruner),
            "pruner": experiment.pruner.name,
            "control": experiment.control.name if experiment.control else "",
            "recipe_hash": _hash(recipe),
            "meaning": _meaning(experiment),
            "base": _meaning(base) if base else "",
        }

    def _one(self, text: str) -> str:
        """The same object for the same text, so that a hundred thousand rows are small."""
        return self._texts.setdefault(text, text)


def _measures(record: dict[str, Any]) -> dict[str, Any]:
    """What was measured of an experiment; accuracies and calibration error in per cent."""
    test, sparsity, timing = record.get("test", {}), record.get("sparsity", {}), record.get("timing", {})
    last = test.get("last", {})
    return {
        "sparsity": sparsity.get("measured", NOWHERE),
        "effective_sparsity": _number(sparsity.get("effective")),
        "collapsed_layers": len(sparsity["collapsed"]) if "collapsed" in sparsity else NOWHERE,
        **_accuracies(test),
        "loss": _number(last.get("loss")),
        "calibration_error": 100 * _number(last.get("calibration_error")),
        "top5_accuracy": 100 * _number(last.get("top5_accuracy")),
        "steps": sum(event["steps"] for event in record.get("events", [])),
        "latency": _number(timing.get("latency")),
        "seconds": _number(timing.get("seconds")),
        "peak_memory": _number(timing.get("peak_memory")),
    }


def _accuracies(test: dict[str, Any]) -> dict[str, Any]:
    """Accuracies in per cent at the last, the best-validation and the early-stop step, and those steps."""
    points = {name: test.get(name) or {} for name in POINTS}
    accuracies = {f"{name}_accuracy": 100 * point.get("accuracy", NOWHERE) for name, point in points.items()}
    steps = {f"{name}_step": point.get("step", NOWHERE) for name, point in points.items()}
    return {**accuracies, **steps, "censored": bool(points["early_stop"].get("censored", False))}


def _number(value: float | None) -> float:
    return NOWHERE if value is None else value


def _meaning(experiment: Experiment) -> str:
    """What tells methods apart that have one name."""
    parts = (experiment.pruner, experiment.control, experiment.recipe, experiment.origin)
    return _hash([without_defaults(part) for part in parts])


def _environment(environment: dict[str, Any]) -> str:
    """What may change the numbers of a run: they are comparable within one of these."""
    names = ("lth-bench", "torch", "timm", "device", "threads")
    return ", ".join(f"{name} {environment[name]}" for name in names if name in environment)


def _data(record: dict[str, Any]) -> str:
    return " ".join(digest[:8] for digest in record.get("data", {}).values()) if record["status"] == "done" else ""


def _hash(value: Any) -> str:
    return sha256(canonical(value).encode())[:8]


def _with_difference(frame: pd.DataFrame) -> pd.DataFrame:
    dense = dense_runs(frame)
    difference = pd.Series(NOWHERE, index=frame.index)
    model = ["dataset", "model"]
    for place, runs in (([*model, "recipe_hash", "seed"], dense), ([*BLOCK, "seed"], dense[~dense["own_recipe"]])):
        reference = runs.drop_duplicates(place).set_index(place)["last_accuracy"]
        found = reference.reindex(pd.MultiIndex.from_frame(frame[place])).to_numpy()
        difference = difference.fillna(frame["last_accuracy"] - found)
    return frame.assign(difference=difference)
