"""Tables for papers: the methods of a run directory by sparsities, by models or by costs."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from lth_bench.reports import escaping
from lth_bench.reports.escaping import plain
from lth_bench.reports.numbers import hundredths, percent
from lth_bench.reports.paper import cells
from lth_bench.reports.paper.captions import caption, where
from lth_bench.reports.paper.cells import UNKNOWN
from lth_bench.reports.table import NOTHING, Cell, Column, Row, Table, labelled
from lth_bench.results.frame import Results, dense_runs, rows_of
from lth_bench.results.leaderboard import Leaderboards, overall, summarise
from lth_bench.results.published import citation, published

NEAR = 0.005  # a published number stands in a column whose sparsity is no farther away
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Wanted:
    """Which rows a table is to have: `methods` are names with commas between them, "" is all of them."""

    at: float | None = None
    methods: str = ""
    controls: bool = True
    published: bool = False


_Key = tuple[str, bool]  # a method, and whether it pruned
_Place = dict[_Key, Any]


def _key(row: Any) -> _Key:
    return str(row["method"]), row["target"] > 0


@dataclass(frozen=True)
class _Block:
    """The rows of a board for one data set, model and recipe."""

    dataset: str
    model: str
    recipe: str
    rows: list[Any]

    @property
    def targets(self) -> list[float]:
        return sorted({row["target"] for row in self.rows} - {0.0})

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.model} {self.recipe}"

    def at(self, *targets: float) -> _Place:
        return {_key(row): row for row in self.rows if row["target"] in targets}


@dataclass(frozen=True)
class _Found:
    results: Results
    wanted: Wanted
    board: Leaderboards

    @cached_property
    def blocks(self) -> list[_Block]:
        return [_Block(*place, rows_of(rows)) for place, rows in self.board.blocks()]

    def captioned(self, table: Table, rows: list[Any], notes: list[str]) -> Table:
        """A table of these rows with its caption, and a label that names its suites as well."""
        texts = {cell.text for row in table.rows for cell in row.cells}
        marks = {NOTHING.text: "not asked for", UNKNOWN: "not in the records"}
        told = [f"{mark}: {meaning}." for mark, meaning in marks.items() if mark in texts]
        return dataclasses.replace(
            table,
            caption=caption(self.results, rows, notes + told),
            label=escaping.slug(" ".join([*sorted(self.results.evidence.suites), table.label])),
            sections=[section for section in table.sections if section],
        )


def tables(results: Results, layout: str, wanted: Wanted) -> list[Table]:
    """The tables of a layout; raises ValueError for methods and sparsities that there are not.

    Which methods are best and how they rank is found among those that are wanted.
    """
    found = _Found(results, wanted, summarise(_chosen(results.frame, wanted)))
    return list(labelled(LAYOUTS[layout](found)))


def _chosen(frame: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """The rows of the wanted methods, and of dense networks."""
    if not wanted.controls:
        frame = frame[frame["control"] == ""]
    if wanted.methods:
        names = _named(wanted.methods, list(dict.fromkeys(frame["method"])))
        frame = frame[frame["method"].isin(names) | frame.index.isin(dense_runs(frame).index)]
    if frame.empty:
        raise ValueError("there are only controls, and they were not wanted")
    return frame.reset_index(drop=True)


def _named(text: str, known: list[str]) -> list[str]:
    """Names out of a list with commas, which may be in the names as well: the longest that fits is meant."""
    any_name = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    item = re.compile(rf"(?:^|(?<=,))\s*({any_name})\s*(?:,|$)")
    if wrong := item.sub("", text).strip():
        there = "; ".join(map(plain, known))
        raise ValueError(f"no method {plain(wrong.split(',')[0])!r} (of {plain(text)!r}); there are: {there}")
    return item.findall(text)


def _by_sparsity(found: _Found) -> Iterator[Table]:
    """A table per block: methods by sparsities, the dense network apart."""
    for block in found.blocks:
        columns = block.targets or [0.0]
        sections = _sections(block.rows, partial(_sparsity_line, places=[block.at(target) for target in columns]))
        reported = _reported_rows(block, found.wanted) if found.wanted.published else []
        title = f"Accuracy (%) of {where(block.model, block.dataset)} by sparsity"
        table = Table(title, _columns("method", *map(percent, columns)), [*sections, reported], label=block.name)
        yield found.captioned(table, block.rows, [REPORTED_NOTE] if reported else [])


def _by_model(found: _Found) -> Iterator[Table]:
    """One table: methods by models at one sparsity, and the mean of their ranks."""
    at = _sparsity(found.wanted.at, found.blocks)
    places = [block.at(0.0, at) for block in found.blocks]
    rows = [row for place in places for row in place.values()]
    sections = _sections(rows, partial(_model_line, places=places, ranks=_mean_ranks(found, at)))
    several = Counter((block.model, block.dataset) for block in found.blocks)
    columns = _columns("method", *(_place(block, several) for block in found.blocks), "mean rank")
    table = Table(f"Accuracy (%) at a sparsity of {percent(at)}", columns, sections, label=f"models at {at:g}")
    yield found.captioned(table, rows, [RANK_NOTE])


def _by_cost(found: _Found) -> Iterator[Table]:
    """A table per block at one sparsity: accuracy and what it cost."""
    wanted = None if found.wanted.at is None else _sparsity(found.wanted.at, found.blocks)
    for block in found.blocks:
        if wanted is not None and wanted not in block.targets:
            continue
        at = _sparsity(wanted, [block])
        rows = list(block.at(0.0, at).values())
        usual = (row["training_flops"] for row in rows if not row["target"] and not row["own_recipe"])
        unit = _unit(rows)
        sections = _sections(rows, partial(_cost_line, training=next(usual, math.nan), unit=unit))
        title = f"Costs of {where(block.model, block.dataset)} at a sparsity of {percent(at)}"
        columns = _columns(*COST_HEADER, f"size\n({UNITS[unit]})")
        table = Table(title, columns, sections, label=f"costs at {at:g} {block.name}")
        yield found.captioned(table, rows, [COST_NOTE])


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
RANK_NOTE = "Mean ranks are over the models, or over as many as the brackets say."
REPORTED_NOTE = (
    f"In italics: reported for the same network at sparsities within {100 * NEAR:g} points; protocols differ, so these "
    "are not compared."
)
LAYOUTS: dict[str, Callable[[_Found], Iterator[Table]]] = {
    "sparsities": _by_sparsity,
    "models": _by_model,
    "costs": _by_cost,
}


def _sections(rows: list[Any], line: Callable[[list[Any]], Row]) -> list[list[Row]]:
    """Dense networks, pruned methods and controls, with a line for the rows of each."""
    methods: dict[_Key, list[Any]] = {}
    for row in rows:
        methods.setdefault(_key(row), []).append(row)
    sections: list[list[Row]] = [[], [], []]
    for some in methods.values():
        number = 0 if not some[0]["target"] else 2 if some[0]["control"] else 1
        sections[number].append(line(some))
    return sections


def _line(rows: list[Any], places: list[_Place]) -> Row:
    """The name of a method and its accuracies in these places."""
    key = _key(rows[0])
    return Row([cells.name(rows), *(cells.accuracy(place[key]) if key in place else NOTHING for place in places)])


def _sparsity_line(rows: list[Any], places: list[_Place]) -> Row:
    if rows[0]["target"]:
        return _line(rows, places)
    name = cells.name(rows)
    return Row([Cell(name.text, notes=(*name.notes, "(at 0%)")), cells.accuracy(rows[0])])


def _model_line(rows: list[Any], places: list[_Place], ranks: dict[_Key, Cell]) -> Row:
    return Row([*_line(rows, places).cells, ranks.get(_key(rows[0]), NOTHING)])


def _cost_line(rows: list[Any], training: float, unit: int) -> Row:
    """Accuracy and costs, training against that of the dense network."""
    row = rows[0]
    shown = [
        cells.name(rows),
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


def _mean_ranks(found: _Found, at: float) -> dict[_Key, Cell]:
    """Over the blocks in which a method was ranked at a sparsity."""
    rows, blocks = found.board.rows, len(found.blocks)
    met = Leaderboards(rows[(rows["target"] == at) & (rows["place"] == at)], found.board.samples)
    ranks = {}
    for row in rows_of(overall(met)):
        note = "" if row["cells"] == blocks else f"{row['cells']} of {blocks}"
        ranks[row["method"], True] = cells.number(row["mean_rank"], 1, note) if row["cells"] else NOTHING
    return ranks


def _sparsity(at: float | None, blocks: list[_Block]) -> float:
    """The wanted sparsity, or that of most rows, the middle one of several; 0 if there are only dense rows."""
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
    """Bytes, as they are smallest; the dense network has no mask."""
    return float(min(row["bytes_bitmap"], row["bytes_csr"]) if row["target"] else row["bytes_dense"])


def _unit(rows: list[Any]) -> int:
    """How many thousands the largest size is divided by."""
    largest = max((size for size in map(_size, rows) if math.isfinite(size)), default=1000.0)
    return min(len(UNITS) - 1, int(math.log10(max(largest, 1)) / 3))


def _reported_rows(block: _Block, wanted: Wanted) -> list[Row]:
    """What papers report near the sparsities of a block, a row for each of their methods."""
    rows = published(block.dataset, block.model)
    if wanted.methods:
        rows = rows[rows["pruner"].isin({row["pruner"] for row in block.rows})]
    lines = []
    papers = [f"{row.method} ({citation(row)})" for row in rows.itertuples()]
    for name, numbers in rows.assign(name=papers).groupby("name", sort=False):
        dense = _reported(numbers, 0.0)
        if dense != NOTHING:
            lines.append(Row([Cell(f"{name}, at 0%", mark="reported"), dense]))
        pruned = [_reported(numbers, target) for target in block.targets]
        if set(pruned) - {NOTHING}:
            lines.append(Row([Cell(str(name), mark="reported"), *pruned]))
    return lines


def _reported(numbers: pd.DataFrame, column: float) -> Cell:
    """The number nearest to a sparsity, or the range of several."""
    away = (numbers["sparsity"] - column).abs().round(6)
    if away.min() > (NEAR if column else 0.0):
        return NOTHING
    nearest = numbers[away == away.min()]
    note = cells.elsewhere(nearest["sparsity"].iloc[0], column)
    return cells.reported(nearest["accuracy"].min(), nearest["accuracy"].max(), note)
