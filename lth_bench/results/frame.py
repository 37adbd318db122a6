"""Records as a table: one row per experiment, missing ones included."""

from __future__ import annotations

import gc
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any, cast

import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.experiments.about import About
from lth_bench.results.evidence import Evidence
from lth_bench.results.excerpts import NOWHERE, Excerpt, PlanExcerpt, plan_excerpt, read_excerpt
from lth_bench.results.rows import COLUMNS, Reader, Row
from lth_bench.storage.record import Methods, Record
from lth_bench.storage.records import read_record, record_paths
from lth_bench.storage.sealed import read_json

BLOCK = ["dataset", "model", "recipe"]
METHOD = [*BLOCK, "method", "asked"]
PRESENTATION = ("suite", "label", "recipe", "own_recipe", "helper", "dataset_label", "model_label")
CELLS = 20_000  # of a leaderboard: methods times sparsities
SHOWN = 10  # faults in one message
MANY = 5000  # records; as many or more are read by all processors


@dataclass(frozen=True)
class Results:
    """Run directories as one table, with its evidence, its recipes by their hash, and the paths of its records.

    `methods` is what pruners and controls say of themselves. `superseded` counts experiments of earlier revisions,
    which the table leaves out.
    """

    directories: list[Path]
    frame: pd.DataFrame
    evidence: Evidence
    recipes: dict[str, dict[str, Any]]
    paths: list[Path]
    methods: Methods
    superseded: int = 0

    def records(self) -> Iterator[Record]:
        """Reads the records once more, one after the other, as memory may not hold all of them."""
        return (read_record(path) for path in self.paths)

    def documents(self) -> Iterator[tuple[str, str]]:
        """The records as JSON in ASCII, without their checksums; each with its key."""
        return ((path.stem, json.dumps(read_json(path), separators=(",", ":"))) for path in self.paths)


def load(directory: Path, all_revisions: bool = False) -> Results:
    """Reads a run directory, without the files that cannot be used: the evidence has their faults.

    An experiment whose record cannot be used is missing. What a raised revision has superseded is left out too, unless
    `all_revisions` are asked for. Raises FileFault if there are no records, or none of use.
    """
    with _no_collection():
        return with_newest(_load(directory), all_revisions)


def with_newest(results: Results, all_revisions: bool) -> Results:
    """Results with completed rows; those of earlier revisions are left out unless `all_revisions` are asked for."""
    rows = results.frame
    if not all_revisions:
        rows = rows[~superseded(rows)].reset_index(drop=True)
        old = set(results.frame["key"]) - set(rows["key"])
        results.evidence.troubles[:] = [trouble for trouble in results.evidence.troubles if trouble.key not in old]
    frame, keys = completed(rows), set(rows["key"])
    _check_size(frame, results.directories[0])
    return replace(
        results,
        frame=frame,
        paths=[path for path in results.paths if path.stem in keys],
        superseded=len(results.frame) - len(rows),
    )


def superseded(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows use a data set, model, pruner or control of which a newer revision was used on the same networks."""
    pairs = list(zip(rows["names"], rows["revisions"], strict=True))
    newest: dict[tuple[Any, ...], int] = {}
    for names, revisions in dict.fromkeys(pairs):
        for place, revision in zip(_places(names), revisions, strict=True):
            newest[place] = max(revision, newest.get(place, 0))
    old = {
        (names, revisions)
        for names, revisions in dict.fromkeys(pairs)
        if any(revision < newest[place] for place, revision in zip(_places(names), revisions, strict=True))
    }
    return pd.Series([pair in old for pair in pairs], index=rows.index, dtype=bool)


def _places(names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Each of the names with its kind, and with the data set and the model that it is used on."""
    return [(names[:2], kind, name) for kind, name in enumerate(names)]


def _load(directory: Path) -> Results:
    evidence, reader, tables = Evidence(), Reader(), []
    plan, paths = _plan(directory, evidence), record_paths(directory)
    planned = {entry.key: entry for entry in plan.experiments}
    names = {key: {name: getattr(entry, name) for name in PRESENTATION} for key, entry in planned.items()}
    for table, more, recipes in _read_in_parts(paths, names):
        evidence.include(more)
        reader.recipes |= recipes
        tables.append(table)
    used = {key for table in tables if len(table) for key in table["key"]}
    for key, entry in planned.items():
        if key not in used:
            _add(reader, entry, evidence)
    if not (used or reader.rows) or (paths and not used):
        raise FileFault("\n".join([f"no records in {directory}", *(out.message for out in evidence.left_out[:SHOWN])]))
    rows = pd.concat([table for table in [*tables, _frame(reader.rows)] if len(table)], ignore_index=True)
    place = {key: number for number, key in enumerate([*planned, *(path.stem for path in paths)][::-1])}
    ordered = rows.iloc[rows["key"].map(place).argsort(kind="stable")[::-1]].reset_index(drop=True)
    sound = [path for path in paths if path.stem in used]
    families = [
        _family(plan.methods, *methods)
        for methods in zip(ordered["pruner_choice"], ordered["control_choice"], strict=True)
    ]
    return Results([directory], ordered.assign(family=families), evidence, reader.recipes, sound, plan.methods)


def _check_size(frame: pd.DataFrame, directory: Path) -> None:
    """Raises FileFault where tables would be far larger than what they show, as time and memory would be."""
    for place, rows in frame.groupby(BLOCK, sort=False):
        methods, sparsities, seeds = (rows[name].nunique() for name in ("method", "asked", "seed"))
        if methods * sparsities > CELLS or methods * sparsities * seeds > 1000 * CELLS:
            raise FileFault(
                f"{directory} asks for {methods:,} methods at {sparsities:,} sparsities and {seeds:,} seeds of "
                f"{place[1]} on {place[0]}; a table has at most {CELLS:,} cells, so use several directories"
            )


def _plan(directory: Path, evidence: Evidence) -> PlanExcerpt:
    """The plan; an empty one if it cannot be used."""
    try:
        return plan_excerpt(directory)
    except FileFault as fault:
        evidence.leave_out("", "plan.json", fault)
        return PlanExcerpt(1)


def _family(methods: Methods, pruner: str, control: str) -> str:
    """The family that a method states; "" if it states none."""
    kind, name = ("control", control) if control else ("pruner", pruner)
    return methods.get(kind, {}).get(name, About()).family


def _add(reader: Reader, record: Excerpt, evidence: Evidence) -> None:
    try:
        reader.add(record)
    except FileFault as fault:
        evidence.leave_out(record.key, record.label, fault)


Part = tuple[pd.DataFrame, Evidence, dict[str, dict[str, Any]]]


def _read_in_parts(paths: list[Path], names: dict[str, dict[str, Any]]) -> Iterator[Part]:
    """Tables of these records, their evidence and recipes; many records are read by all processors."""
    workers = os.cpu_count() or 1
    alone = len(paths) < MANY or workers == 1 or "fork" not in get_all_start_methods()
    size = max(1, len(paths) if alone else math.ceil(len(paths) / workers / 2))
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]
    labels = [{path.stem: names[path.stem] for path in part if path.stem in names} for part in parts]
    if alone:
        yield from map(_read_part, parts, labels)
        return
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        yield from pool.map(_read_part, parts, labels)


def _read_part(paths: list[Path], names: dict[str, dict[str, Any]]) -> Part:
    reader, evidence = Reader(), Evidence()
    for path in paths:
        label = names.get(path.stem, {})
        try:
            record = read_excerpt(path)
        except FileFault as fault:
            evidence.leave_out(path.stem, label.get("label", ""), fault)
            continue
        for name, value in label.items():
            setattr(record, name, value)
        _add(reader, record, evidence)
    evidence.include(reader.evidence())
    return _frame(reader.rows), evidence, reader.recipes


def _frame(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {})


@contextmanager
def _no_collection() -> Iterator[None]:
    """Inside, the garbage collector rests: records have no cycles, and it would take half of the time."""
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
    """Rows with the columns that depend on other rows: their leaderboard, distinct names, differences."""
    return _with_difference(_distinct(_placed(_named(rows).assign(method=rows["label"]))))


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Names the data set and the model by their labels; of several that a choice has, by the first."""
    for kind in ("dataset", "model"):
        labels = rows.loc[rows[f"{kind}_label"] != "", [f"{kind}_choice", f"{kind}_label"]]
        known = dict(reversed(list(labels.drop_duplicates().itertuples(index=False, name=None))))
        names = {choice: known.get(choice, choice) for choice in dict.fromkeys(rows[f"{kind}_choice"])}
        counts = Counter(names.values())
        unique = {choice: name if counts[name] == 1 else f"{name} [{choice}]" for choice, name in names.items()}
        rows = rows.assign(**{kind: rows[f"{kind}_choice"].map(unique)})
    return rows


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dicts."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))


def dense_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at sparsity 0, trained no further, with which others are compared; of several, the first counts."""
    return frame[(frame["asked"] == 0) & (frame["control"] == "") & ~frame["has_sequel"]]


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds the recipe of the leaderboard to each row: that of its suite, also if the row has a recipe of its own."""
    within = ["suite", "dataset", "model"]
    usual = rows[~rows["own_recipe"]].drop_duplicates(within).set_index(within)[["trained_with", "recipe_hash"]]
    suites = usual.reindex(pd.MultiIndex.from_frame(rows[within])).reset_index(drop=True).set_index(rows.index)
    own = ~rows["own_recipe"] | suites["recipe_hash"].isna()
    name = rows["trained_with"].where(own, suites["trained_with"])
    digest = rows["recipe_hash"].where(own, suites["recipe_hash"])
    several = digest.groupby([rows["dataset"], rows["model"], name]).transform("nunique") > 1
    return rows.assign(recipe=name.where(~several, name + " [" + digest + "]"), board_hash=digest)


def _distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """Appends parameters, then a hash of the recipe, then one of everything, to names that several methods share."""
    for more in ("pruner_choice", "recipe_hash", "meaning"):
        meanings = frame.groupby([*BLOCK, "method"])["meaning"].transform("nunique")
        longer = frame["method"] + " [" + frame[more] + "]"
        frame = frame.assign(method=frame["method"].where(meanings == 1, longer))
    return frame


def _with_difference(frame: pd.DataFrame) -> pd.DataFrame:
    dense = dense_runs(frame)
    difference = pd.Series(NOWHERE, index=frame.index)
    model = ["dataset", "model"]
    for place, runs in (([*model, "recipe_hash", "seed"], dense), ([*BLOCK, "seed"], dense[~dense["own_recipe"]])):
        reference = runs.drop_duplicates(place).set_index(place)["last_accuracy"]
        dense_accuracy = reference.reindex(pd.MultiIndex.from_frame(frame[place])).to_numpy()
        difference = difference.fillna(frame["last_accuracy"] - dense_accuracy)
    return frame.assign(difference=difference)
