"""Tables for papers: the methods of a run directory by sparsities, by models or by costs."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from lth_bench.reports import averages, escaping
from lth_bench.reports.escaping import plain
from lth_bench.reports.methods import said
from lth_bench.reports.numbers import hundredths, percent
from lth_bench.reports.paper import cells, reported
from lth_bench.reports.paper.captions import caption, where
from lth_bench.reports.paper.cells import UNKNOWN
from lth_bench.reports.paper.selection import RowSelection, selected
from lth_bench.reports.table import NOTHING, Cell, Column, Row, Table, labelled
from lth_bench.results.averages import averaged
from lth_bench.results.frame import Results, rows_of
from lth_bench.results.leaderboard import Leaderboards, summarise
from lth_bench.results.published import published

UNITS = ("B", "kB", "MB", "GB", "TB")

_Key = tuple[str, bool]  # a method, and whether it pruned
_Place = dict[_Key, Any]


def _key(row: Any) -> _Key:
    return str(row["method"]), row["target"] > 0


@dataclass(frozen=True)
class _Block:
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

    def at(self, *targets: float) -> _Place:
        return {_key(row): row for row in self.rows if row["target"] in targets}


@dataclass(frozen=True)
class _Comparison:
    """The selected rows of a run directory, compared with each other."""

    results: Results
    selection: RowSelection
    leaderboards: Leaderboards

    @cached_property
    def blocks(self) -> list[_Block]:
        return [_Block(*place, rows_of(rows)) for place, rows in self.leaderboards.blocks()]

    def at(self, sparsity: float) -> Leaderboards:
        """The leaderboards at one sparsity."""
        rows = self.leaderboards.rows
        return Leaderboards(rows[rows["target"] == sparsity], self.leaderboards.samples)

    def name(self, rows: list[Any]) -> Cell:
        """The name of a method with the marks of all its rows, and its paper if papers are cited."""
        cell = cells.name(rows)
        paper = None if rows[0]["control"] or not self.selection.cited else said(self.results.methods, rows[0]).paper
        return dataclasses.replace(cell, citation=paper.key) if paper else cell

    def captioned(self, table: Table, rows: list[Any], notes: list[str]) -> Table:
        """The table with its caption, and with its suites in its label."""
        texts = {cell.text for row in table.rows for cell in row.cells}
        marks = {NOTHING.text: "not asked for", UNKNOWN: "not in the records"}
        legend = [f"{mark}: {meaning}." for mark, meaning in marks.items() if mark in texts]
        return dataclasses.replace(
            table,
            caption=caption(self.results, rows, notes + legend),
            label=escaping.slug(" ".join([*sorted(self.results.evidence.suites), table.label])),
            sections=[section for section in table.sections if section],
        )


def tables(results: Results, layout: str, selection: RowSelection) -> list[Table]:
    """The tables of a layout; raises ValueError for methods and sparsities that do not exist.

    Ranks and the best are found among the selected methods.
    """
    comparison = _Comparison(results, selection, summarise(selected(results.frame, selection), selection.equivalence))
    return list(labelled(LAYOUTS[layout](comparison)))


def _by_sparsity(comparison: _Comparison) -> Iterator[Table]:
    """A table for each leaderboard: methods by sparsities, with the dense network in a section of its own."""
    for block in comparison.blocks:
        columns = block.targets or [0.0]
        sections = _sections(
            block.rows, partial(_sparsity_line, comparison, places=[block.at(target) for target in columns])
        )
        numbers = _published(comparison.selection, block)
        below = reported.reported_rows([(numbers, 0.0)], [(numbers, target) for target in columns], len(columns))
        title = f"Accuracy (%) of {where(block.model, block.dataset)} by sparsity"
        table = Table(title, _columns("method", *map(percent, columns)), [*sections, below], label=block.name)
        yield comparison.captioned(table, block.rows, [reported.NOTE] if below else [])


def _published(selection: RowSelection, block: _Block) -> pd.DataFrame:
    """What papers report of the network of a leaderboard, if asked for."""
    rows = published(*block.choices)
    if not selection.published:
        return rows.iloc[:0]
    return rows[rows["pruner"].isin({row["pruner"] for row in block.rows})] if selection.methods else rows


def _by_model(comparison: _Comparison) -> Iterator[Table]:
    """One table: methods by models at one sparsity, and their mean ranks."""
    at = _sparsity(comparison.selection.at, comparison.blocks)
    places = [block.at(0.0, at) for block in comparison.blocks]
    rows = [row for place in places for row in place.values()]
    shown = ["mean_rank", "improvability", "elo"] if comparison.selection.average else ["mean_rank"]
    found = averaged(comparison.at(at))
    means = {row["method"]: [cells.mean(row, name) for name in shown] for row in rows_of(found.rows)}
    sections = _sections(rows, partial(_model_line, comparison, places=places, means=means, width=len(shown)))
    several = Counter((block.model, block.dataset) for block in comparison.blocks)
    columns = _columns(
        "method", *(_place(block, several) for block in comparison.blocks), *(MEANS[name] for name in shown)
    )
    numbers = [_published(comparison.selection, block) for block in comparison.blocks]
    dense, pruned = ([(found, sparsity) for found in numbers] for sparsity in (0.0, at))
    below = reported.reported_rows(dense, pruned, len(columns) - 1)
    title = f"Accuracy (%) at a sparsity of {percent(at)}"
    table = Table(title, columns, [*sections, below], label=f"models at {at:g}")
    names = comparison.leaderboards.names()
    notes = averages.sentences(found, names) if len(shown) > 1 else averages.counted(found, names, "Mean ranks")
    yield comparison.captioned(table, rows, [*notes, *[reported.NOTE] * bool(below)])


def _by_cost(comparison: _Comparison) -> Iterator[Table]:
    """A table for each leaderboard: accuracy and costs at one sparsity."""
    at_all = None if comparison.selection.at is None else _sparsity(comparison.selection.at, comparison.blocks)
    for block in comparison.blocks:
        if at_all is not None and at_all not in block.targets:
            continue
        at = _sparsity(at_all, [block])
        rows = list(block.at(0.0, at).values())
        usual = (row["training_flops"] for row in rows if not row["target"] and not row["own_recipe"])
        unit = _unit(rows)
        sections = _sections(rows, partial(_cost_line, comparison, training=next(usual, math.nan), unit=unit))
        numbers = _published(comparison.selection, block)
        below = reported.reported_rows([(numbers, 0.0)], [(numbers, at)], len(COST_HEADER))
        title = f"Costs of {where(block.model, block.dataset)} at a sparsity of {percent(at)}"
        columns = _columns(*COST_HEADER, f"size\n({UNITS[unit]})")
        table = Table(title, columns, [*sections, below], label=f"costs at {at:g} {block.name}")
        yield comparison.captioned(table, rows, [COST_NOTE, *[reported.NOTE] * bool(below)])


COST_HEADER = [
    "method",
    "accuracy\n(%)",
    "difference\nto dense",
    "effective\nsparsity\n(%)",
    "training\nFLOPs\n(× dense)",
    "inference\nFLOPs\n(% dense)",
    "params",
]
COST_NOTE = (
    "Differences are paired by seed. FLOPs are of kept weights, those of training with search and retraining; size is "
    "of a bitmap or compressed rows."
)
MEANS = {"mean_rank": "mean rank", "improvability": "improv-\nability (%)", "elo": "Elo"}
LAYOUTS: dict[str, Callable[[_Comparison], Iterator[Table]]] = {
    "sparsities": _by_sparsity,
    "models": _by_model,
    "costs": _by_cost,
}


def _sections(rows: list[Any], line: Callable[[list[Any]], Row]) -> list[list[Row]]:
    """Rows of dense networks, of methods and of controls, in sections."""
    methods: dict[_Key, list[Any]] = {}
    for row in rows:
        methods.setdefault(_key(row), []).append(row)
    sections: list[list[Row]] = [[], [], []]
    for some in methods.values():
        number = 0 if not some[0]["target"] else 2 if some[0]["control"] else 1
        sections[number].append(line(some))
    return sections


def _line(comparison: _Comparison, rows: list[Any], places: list[_Place]) -> Row:
    """The name of a method and its accuracies in these places."""
    key = _key(rows[0])
    return Row([comparison.name(rows), *(cells.accuracy(place[key]) if key in place else NOTHING for place in places)])


def _sparsity_line(comparison: _Comparison, rows: list[Any], places: list[_Place]) -> Row:
    if rows[0]["target"]:
        return _line(comparison, rows, places)
    name = comparison.name(rows)
    return Row([Cell(name.text, notes=(*name.notes, "(at 0%)")), cells.accuracy(rows[0])])


def _model_line(
    comparison: _Comparison, rows: list[Any], places: list[_Place], means: dict[str, list[Cell]], width: int
) -> Row:
    method, pruned = _key(rows[0])
    beside = (means.get(method) if pruned else None) or [NOTHING] * width
    return Row([*_line(comparison, rows, places).cells, *beside])


def _cost_line(comparison: _Comparison, rows: list[Any], training: float, unit: int) -> Row:
    """Accuracy and costs of a method; training in multiples of the dense network's."""
    row = rows[0]
    shown = [
        comparison.name(rows),
        cells.accuracy(row),
        cells.difference(row) if row["target"] else NOTHING,
        cells.number(100 * row["effective_sparsity"]),
        cells.number(row["training_flops"] / training if training else math.nan),
        cells.number(100 * row["inference_share"]),
        cells.number(row["parameters"], 0),
        cells.number(_size(row) / 1000**unit, 1 if unit else 0),
    ]
    return Row(shown)


def _columns(first: str, *others: str) -> list[Column]:
    return [Column(first), *(Column(head, form=hundredths) for head in others)]


def _place(block: _Block, several: Counter[tuple[str, str]]) -> str:
    recipe = f",\n{plain(block.recipe)}" if several[block.model, block.dataset] > 1 else ""
    return f"{plain(block.model)}\non {plain(block.dataset)}{recipe}"


def _sparsity(at: float | None, blocks: list[_Block]) -> float:
    """The sparsity asked for, else that of most rows (the middle one of several), or 0 if there are only dense rows."""
    counts = Counter(row["target"] for block in blocks for row in block.rows if row["target"])
    known = sorted(counts)
    if at is None:
        usual = [target for target in known if counts[target] == max(counts.values())]
        return float(usual[len(usual) // 2]) if usual else 0.0
    if found := [target for target in known if math.isclose(target, at, abs_tol=1e-9)]:
        return float(found[0])
    there = ", ".join(f"{target:g}" for target in known) or "dense networks only"
    raise ValueError(f"no method was asked for a sparsity of {at:g}; there are: {there}")


def _size(row: Any) -> float:
    """The size in bytes in the smallest form; the dense network needs no mask."""
    return float(min(row["bytes_bitmap"], row["bytes_csr"]) if row["target"] else row["bytes_dense"])


def _unit(rows: list[Any]) -> int:
    """The power of 1000 in which the largest size is written."""
    largest = max((size for size in map(_size, rows) if math.isfinite(size)), default=1000.0)
    return min(len(UNITS) - 1, int(math.log10(max(largest, 1)) / 3))
