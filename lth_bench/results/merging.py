"""Merges run directories whose experiments can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.results.costs import Costs
from lth_bench.results.evidence import Evidence
from lth_bench.results.frame import Results, load, with_newest
from lth_bench.results.rows import Measures
from lth_bench.storage.record import Methods

Place = tuple[str, str]  # the names of a data set and a model, without their options

TIMES = ("latency", "seconds", "peak_memory")  # another run of the same experiment differs in these
MEASURED = sorted({*Measures._fields, *Costs._fields} - {*TIMES}, key=lambda name: name != "last_accuracy")
SHOWN = 10  # experiments in one message


def load_all(directories: list[Path], all_revisions: bool = False, stand_apart: bool = False) -> Results:
    """Reads run directories as one; of an experiment that several have, the first finished record counts.

    Rows of earlier revisions are left out unless `all_revisions` are asked for.

    Raises FileFault where two directories have different results of one experiment, or a data set and a model in common
    but other data. Also where these have nothing comparable (another recipe, other options of model or data set),
    unless results may `stand_apart`, in leaderboards of their own.
    """
    parts = [load(directory, all_revisions) for directory in {path.resolve(): path for path in directories}.values()]
    if len(parts) == 1:
        return parts[0]
    faults = [fault for pair in combinations(parts, 2) for fault in _faults(*pair, stand_apart)]
    if faults:
        raise FileFault(
            "these experiments cannot stand in one leaderboard:\n" + "\n".join(f"- {fault}" for fault in faults)
        )
    rows = pd.concat([one.frame.assign(directory=str(one.directories[0])) for one in parts], ignore_index=True)
    _refuse_contradictions(rows[rows["status"] == "done"])
    finished = rows.assign(open=rows["status"] != "done").sort_values("open", kind="stable")
    unique = finished.drop_duplicates("key").sort_index().drop(columns=["open", "directory"]).reset_index(drop=True)
    recipes = {digest: recipe for one in parts for digest, recipe in one.recipes.items()}
    directories, paths = ([path for one in parts for path in getattr(one, name)] for name in ("directories", "paths"))
    methods = _methods(parts)
    whole = with_newest(Results(directories, unique, _together(parts), recipes, paths, methods), all_revisions)
    return replace(whole, superseded=whole.superseded + sum(one.superseded for one in parts))


def _methods(parts: list[Results]) -> Methods:
    """What methods say of themselves; of a method that several directories have, in the first."""
    whole: Methods = {}
    for one in reversed(parts):
        for kind, said in one.methods.items():
            whole[kind] = whole.get(kind, {}) | said
    return whole


def _together(parts: list[Results]) -> Evidence:
    whole = Evidence()
    for one in parts:
        whole.include(one.evidence)
    return whole


def _refuse_contradictions(finished: pd.DataFrame) -> None:
    """Raises FileFault if one experiment has several results; figures that a record lacks contradict nothing."""
    repeated = finished[finished["key"].duplicated(keep=False)]
    differing = repeated.groupby("key", sort=False)[MEASURED].nunique() > 1
    contradictory = differing[differing.any(axis=1)]
    if contradictory.empty:
        return
    columns = contradictory.idxmax(axis=1)  # the first in which the results differ
    pairs = columns.head(SHOWN).items()
    told = [_contradiction(repeated[repeated["key"] == key], str(column)) for key, column in pairs]
    more = [f"and {len(columns) - SHOWN} more"] if len(columns) > SHOWN else []
    raise FileFault(
        "these directories have different results of the same experiments:\n"
        + "\n".join(f"- {line}" for line in [*told, *more])
        + "\ngive the directories one at a time, or move the records that you do not trust out of records/"
    )


def _contradiction(rows: pd.DataFrame, column: str) -> str:
    """The results of one experiment in words: its name, and the differing figure in each directory."""
    first = rows.iloc[0]
    figures = rows[rows[column].notna()].drop_duplicates(column)
    pairs = zip(figures[column], figures["directory"], strict=True)
    values = ", ".join(f"{value} in {directory}" for value, directory in pairs)
    name = f"{first['label']}, {first['model']} on {first['dataset']}, sparsity {first['asked']}, seed {first['seed']}"
    return f"{name} ({first['key']}): {column.replace('_', ' ')} {values}"


def _faults(one: Results, other: Results, stand_apart: bool) -> Iterator[str]:
    """Why two directories cannot stand in one leaderboard, for each data set and model in both."""
    pair = f"{one.directories[0]} and {other.directories[0]}"
    mine, yours = (dict(list(frame.groupby(_place(frame)))) for frame in (one.frame, other.frame))
    for place in [place for place in mine if place in yours]:
        difference = "" if stand_apart else _unlike(mine[place], yours[place], one.recipes | other.recipes)
        if difference := difference or _other_data(mine[place], yours[place]):
            dataset, model = place
            yield f"{model} on {dataset} of {pair}: {difference}"


def _place(frame: pd.DataFrame) -> pd.Series[Any]:
    return frame["names"].str[:2]


def _unlike(one: pd.DataFrame, other: pd.DataFrame, recipes: dict[str, dict[str, Any]]) -> str:
    """Why no rows of one model and data set share a leaderboard; "" if some do."""
    for column, word in (("dataset_choice", "the data set's options"), ("model_choice", "the model's options")):
        mine, yours = set(one[column]), set(other[column])
        if not mine & yours:
            return f"{word} differ: {_listed(mine)} against {_listed(yours)}; give them one directory at a time"
    mine, yours = set(one["board_hash"]), set(other["board_hash"])
    if not mine & yours:
        fields = _fields(recipes[min(mine)], recipes[min(yours)])
        return f"the recipe differs in {fields}; give them one directory at a time"
    return ""


def _other_data(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """The difference between the data of rows of one model and data set; "" if there is none."""
    mine, yours = (set(rows["data"]) - {""} for rows in (one, other))
    if mine and yours and mine != yours:
        return f"the data differ: their hashes are {_listed(mine)} against {_listed(yours)}; run both on the same files"
    return ""


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _fields(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The fields in which two recipes differ; an absent field has its default."""
    told = [
        f"{name} ({one.get(name, 'default')} against {other.get(name, 'default')})"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
    return ", ".join(told)
