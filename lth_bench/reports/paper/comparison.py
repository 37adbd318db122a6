"""The rows of run directories that a table for a paper compares, and what is common to its layouts."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from lth_bench.experiments.about import FAMILIES
from lth_bench.reports import escaping
from lth_bench.reports.escaping import plain
from lth_bench.reports.methods import named, said
from lth_bench.reports.numbers import distinct_percents, percentage
from lth_bench.reports.paper import cells
from lth_bench.reports.paper.captions import caption
from lth_bench.reports.paper.cells import UNKNOWN
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.reports.table import NOTHING, Cell, Row, Table
from lth_bench.results.frame import Results, dense_runs, rows_of
from lth_bench.results.leaderboard import Leaderboards, summarise
from lth_bench.results.ordering import arranged, foremost, sparsity_of
from lth_bench.results.published import published

Key = tuple[str, bool]  # a method, and whether it pruned
AtPlace = dict[Key, Any]
"""Rows of leaderboards at a place of a table."""
KINDS = ("dense", *(family for family in FAMILIES if family != "control"), "other", "control")
"""Sections of a table in their order."""


def key(row: Any) -> Key:
    return str(row["method"]), row["target"] > 0


@dataclass(frozen=True)
class Block:
    """The rows of a leaderboard."""

    dataset: str
    model: str
    recipe: str
    rows: list[Any]

    @property
    def targets(self) -> list[float]:
        return sorted({row["target"] for row in self.rows} - {0.0})

    @property
    def choices(self) -> tuple[str, str]:
        """The data set and the model as experiments name them."""
        return self.rows[0]["dataset_choice"], self.rows[0]["model_choice"]

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.model} {self.recipe}"

    def at(self, *targets: float) -> AtPlace:
        return {key(row): row for row in self.rows if row["target"] in targets}


@dataclass(frozen=True)
class Comparison:
    """The chosen rows of run directories, compared with each other."""

    results: Results
    choices: TableChoices
    leaderboards: Leaderboards

    @cached_property
    def blocks(self) -> list[Block]:
        return [Block(*place, rows_of(rows)) for place, rows in self.leaderboards.blocks()]

    def at(self, targets: Set[float]) -> Leaderboards:
        """The leaderboards at some sparsities."""
        rows = self.leaderboards.rows
        return Leaderboards(rows[rows["target"].isin(targets)], self.leaderboards.samples)

    @cached_property
    def asked(self) -> list[float]:
        """The sparsities that were chosen; raises ValueError for one that no method was asked for."""
        known = sorted({target for block in self.blocks for target in block.targets})
        return [asked_sparsity(text, known) for text in filter(None, map(str.strip, self.choices.at.split(",")))]

    @cached_property
    def only(self) -> float | None:
        """The one sparsity that was chosen, if one was; raises ValueError for several."""
        if len(self.asked) > 1:
            raise ValueError(f"--columns {self.choices.columns} shows one sparsity; --at names {len(self.asked)}")
        return self.asked[0] if self.asked else None

    def targets(self, block: Block) -> list[float]:
        """The chosen sparsities of a leaderboard, or all."""
        return [target for target in block.targets if target in self.asked] if self.asked else block.targets

    def sparsity(self, *blocks: Block) -> float:
        """The chosen sparsity, else that of most rows (the middle one of several), or 0 without pruned rows."""
        if self.only is not None:
            return self.only
        counts = Counter(row["target"] for block in blocks for row in block.rows if row["target"])
        usual = [target for target in sorted(counts) if counts[target] == max(counts.values())]
        return float(usual[len(usual) // 2]) if usual else 0.0

    def name(self, rows: list[Any]) -> Cell:
        """The name of a method with the marks of all its rows, and its paper if papers are cited."""
        cell = cells.name(rows)
        paper = None if rows[0]["control"] or not self.choices.bib else said(self.results.methods, rows[0]).paper
        return dataclasses.replace(cell, citation=paper.key) if paper else cell

    def accuracy(self, row: Any) -> Cell:
        return cells.accuracy(row, self.choices.spread)

    def line(self, rows: list[Any], places: list[AtPlace]) -> Row:
        """The name of a method and its accuracies in these places."""
        found = (place.get(key(rows[0])) for place in places)
        return Row([self.name(rows), *(self.accuracy(row) if row is not None else NOTHING for row in found)])

    def published(self, block: Block) -> pd.DataFrame:
        """What papers report of the network of a leaderboard, if asked for."""
        rows = published(*block.choices) if self.choices.published else published("", "")
        return rows[rows["pruner"].isin({row["pruner"] for row in block.rows})] if self.choices.methods else rows

    def sections(self, rows: list[Any], line: Callable[[list[Any]], Row]) -> list[list[Row]]:
        """Rows of dense networks, of methods and of controls in sections; those of families have heads."""
        methods: dict[Key, list[Any]] = {}
        for row in rows:
            methods.setdefault(key(row), []).append(row)
        sections: dict[str, list[Row]] = {kind: [] for kind in KINDS}
        for some in methods.values():
            sections[self._kind(some[0])].append(line(some))
        return [[*self._head(kind), *lines] for kind, lines in sections.items() if lines]

    def _kind(self, row: Any) -> str:
        """The section of a row: its family, if methods are grouped by it."""
        if not row["target"]:
            return "dense"
        if row["control"]:
            return "control"
        return str(row["family"]) if self.choices.group == "family" and row["family"] in FAMILIES else "other"

    def _head(self, kind: str) -> list[Row]:
        if self.choices.group == "none" or kind == "dense":
            return []
        return [Row([Cell(kind[:1].upper() + kind[1:], mark="family"), Cell()])]

    def captioned(self, table: Table, rows: list[Any], notes: list[str]) -> Table:
        """The table with its caption, and with its file or its suites in its label."""
        texts = {cell.text for row in table.rows for cell in row.cells}
        marks = {NOTHING.text: "not asked for", UNKNOWN: "not in the records"}
        legend = [f"{mark}: {meaning}." for mark, meaning in marks.items() if mark in texts]
        stem = [self.choices.out.stem] if self.choices.out else sorted(self.results.evidence.suites)
        return dataclasses.replace(
            table,
            caption=caption(self.results, rows, notes, legend, self.choices),
            label=escaping.slug(" ".join([*stem, table.label])),
            sections=[section for section in table.sections if section],
        )


def compared(results: Results, choices: TableChoices) -> Comparison:
    """The chosen rows in the order and with the names that were chosen.

    Ranks and the best are found among the chosen methods. Raises ValueError for methods and sparsities that do not
    exist.
    """
    frame = _selected(results.frame, choices)
    names = list(dict.fromkeys(frame["method"]))
    renamed = _renamed(frame, choices.rename)
    leaderboards = summarise(renamed, choices.equivalence)
    if choices.order:
        leaderboards = _ordered(leaderboards, choices.order, names, choices.rename)
    return Comparison(dataclasses.replace(results, frame=renamed), choices, leaderboards)


def _selected(frame: pd.DataFrame, choices: TableChoices) -> pd.DataFrame:
    """The rows of the chosen methods and of dense networks; raises ValueError if there are none."""
    if not choices.controls:
        frame = frame[frame["control"] == ""]
    if choices.methods:
        names = named(choices.methods, list(dict.fromkeys(frame["method"])))
        frame = frame[frame["method"].isin(names) | frame.index.isin(dense_runs(frame).index)]
    if frame.empty:
        raise ValueError("there are only controls, and they are left out")
    return frame.reset_index(drop=True)


def _renamed(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Rows with other names of methods, models and data sets; raises ValueError where two would have one name."""
    columns = ["method", "model", "dataset"]
    known = {name for column in columns for name in frame[column]}
    if unknown := [name for name in names if name not in known]:
        there = "; ".join(sorted(map(plain, known)))
        raise ValueError(f"--rename: nothing is called {plain(unknown[0])!r}; there are: {there}")
    pairs = zip(frame["method"], frame["control"], strict=True)
    methods = [_of_control(name, names) if control else name for name, control in pairs]
    renamed = frame.assign(method=methods)
    renamed = renamed.assign(**{column: renamed[column].replace(dict(names)) for column in columns})
    for column in columns:
        counts = frame[column].groupby(renamed[column]).nunique()
        if twice := list(counts.index[counts > 1]):
            raise ValueError(f"--rename: several rows of column {column} would be called {plain(twice[0])!r}")
    return renamed


def _of_control(name: str, names: Mapping[str, str]) -> str:
    """The name of a control's row, such as "IMP, redraw", with the new name of its method."""
    old = next((old for old in names if name not in names and name.startswith(f"{old}, ")), "")
    return names[old] + name.removeprefix(old) if old else name


def _ordered(leaderboards: Leaderboards, order: str, names: list[str], rename: Mapping[str, str]) -> Leaderboards:
    """Leaderboards with the named methods first, or by a sparsity or column."""
    try:
        return foremost(leaderboards, [rename.get(name, name) for name in named(order, names)])
    except ValueError as error:
        try:
            return arranged(leaderboards, order)
        except LookupError:
            raise ValueError(f"--order: {error}; or give a sparsity or a column of the CSV") from error


def asked_sparsity(text: str, known: list[float]) -> float:
    """The sparsity of a text such as "98%" or "0.98" among those that methods were asked for, or as tables write it."""
    sparsity = sparsity_of(text)
    if sparsity is None:
        raise ValueError(f"--at wants sparsities such as 98% or 0.98, not {text!r}")
    shown = dict(zip(known, distinct_percents(known), strict=True))
    exact = [target for target in known if math.isclose(target, sparsity, abs_tol=1e-9)]
    found = exact or [target for target, percent in shown.items() if percent == text]
    if not found:
        there = ", ".join(shown.values()) or "dense networks only"
        raise ValueError(f"no method was asked for a sparsity of {percentage(sparsity)}; there are: {there}")
    return found[0]
