"""Tables for papers: the methods of run directories by sparsities, by models, by both, or by costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lth_bench.reports import averages
from lth_bench.reports.escaping import plain
from lth_bench.reports.numbers import distinct_percents, hundredths, percentage
from lth_bench.reports.paper import cells, reported
from lth_bench.reports.paper.captions import where
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.reports.paper.comparison import AtPlace, Block, Comparison, compared, key
from lth_bench.reports.table import Cell, Column, Row, Table, labelled
from lth_bench.results.averages import averaged
from lth_bench.results.frame import Results, rows_of

UNITS = ("B", "kB", "MB", "GB", "TB")


def tables(results: Results, choices: TableChoices) -> list[Table]:
    """The tables of run directories; raises ValueError for methods and sparsities that do not exist.

    Ranks and the best are found among the chosen methods.
    """
    return list(labelled(LAYOUTS[choices.columns](compared(results, choices))))


def _by_sparsity(comparison: Comparison) -> Iterator[Table]:
    """A table for each leaderboard: methods by sparsities, with the dense network in a section of its own."""
    for block in comparison.blocks:
        columns = comparison.targets(block) or [0.0]
        places = [block.at(target) for target in columns]
        rows = [row for row in block.rows if row["target"] in (0.0, *columns)]
        sections = comparison.sections(rows, partial(_sparsity_line, comparison, places=places))
        numbers = comparison.published(block)
        below = reported.reported_rows([(numbers, 0.0)], [(numbers, target) for target in columns], len(columns))
        title = f"Accuracy (%) of {where(block.model, block.dataset)} by sparsity"
        table = Table(title, _columns("method", *distinct_percents(columns)), [*sections, below], label=block.name)
        yield comparison.captioned(table, rows, [reported.NOTE] if below else [])


def _by_model(comparison: Comparison) -> Iterator[Table]:
    """One table: methods by models at one sparsity, and their averages."""
    at = comparison.sparsity(*comparison.blocks)
    heads = _places(comparison)
    columns = [(_numbers(heads[block.name]), block, at) for block in comparison.blocks]
    yield _beside(comparison, columns, f"Accuracy (%) at a sparsity of {percentage(at)}", f"models at {at:g}")


def _by_model_and_sparsity(comparison: Comparison) -> Iterator[Table]:
    """One table: methods by the sparsities of each model."""
    heads = _places(comparison)
    columns = [
        (_numbers(head, heads[block.name]), block, target)
        for block in comparison.blocks
        for target, head in _headed(comparison.targets(block))
    ]
    yield _beside(comparison, columns, "Accuracy (%) by model and sparsity", "models and sparsities")


def _beside(comparison: Comparison, columns: list[tuple[Column, Block, float]], title: str, label: str) -> Table:
    """A table of places of leaderboards beside each other, and the averages over them."""
    places = [block.at(0.0, target) for _, block, target in columns]
    shown_at = {block.name: {0.0, *(at for _, other, at in columns if other is block)} for _, block, _ in columns}
    rows = [row for block in comparison.blocks for row in block.rows if row["target"] in shown_at.get(block.name, ())]
    found = averaged(comparison.at({target for _, _, target in columns}))
    shown = ["mean_rank", "improvability", "elo"] if comparison.choices.average else ["mean_rank"]
    spread = comparison.choices.spread if comparison.choices.average else "none"
    means = {row["method"]: [cells.mean(row, name, spread) for name in shown] for row in rows_of(found.rows)}
    line = partial(_line_of_places, comparison, places=places, means=means, width=len(shown))
    numbers = [(comparison.published(block), target) for _, block, target in columns]
    below = reported.reported_rows([(found, 0.0) for found, _ in numbers], numbers, len(columns) + len(shown))
    heads = [Column("method"), *(column for column, _, _ in columns), *(_numbers(MEANS[name]) for name in shown)]
    names = comparison.leaderboards.names()
    notes = averages.sentences(found, names) if len(shown) > 1 else averages.counted(found, names, "Mean ranks")
    table = Table(title, heads, [*comparison.sections(rows, line), below], label=label)
    return comparison.captioned(table, rows, [*notes, *[reported.NOTE] * bool(below)])


def _by_cost(comparison: Comparison) -> Iterator[Table]:
    """A table for each leaderboard: accuracy and costs at one sparsity."""
    for block in comparison.blocks:
        if comparison.only is not None and comparison.only not in block.targets:
            continue
        at = comparison.sparsity(block)
        rows = list(block.at(0.0, at).values())
        usual = (row["training_flops"] for row in rows if not row["target"] and not row["own_recipe"])
        unit = _unit(rows)
        line = partial(_cost_line, comparison, training=next(usual, math.nan), unit=unit)
        numbers = comparison.published(block)
        below = reported.reported_rows([(numbers, 0.0)], [(numbers, at)], len(COST_HEADER))
        title = f"Costs of {where(block.model, block.dataset)} at a sparsity of {percentage(at)}"
        columns = _columns(*COST_HEADER, f"size\n({UNITS[unit]})")
        sections = [*comparison.sections(rows, line), below]
        table = Table(title, columns, sections, label=f"costs at {at:g} {block.name}")
        absent = _absent(block, rows, at)
        yield comparison.captioned(table, rows, [COST_NOTE, *absent, *[reported.NOTE] * bool(below)])


def _absent(block: Block, rows: list[Any], at: float) -> list[str]:
    """Which methods were not asked for the sparsity that a table shows."""
    shown = {row["method"] for row in rows}
    names = dict.fromkeys(row["method"] for row in block.rows if row["target"] and row["method"] not in shown)
    return [f"Not asked for {percentage(at)}: {'; '.join(names)}."] * bool(names)


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
LAYOUTS: dict[str, Callable[[Comparison], Iterator[Table]]] = {
    "sparsities": _by_sparsity,
    "models": _by_model,
    "models*sparsities": _by_model_and_sparsity,
    "costs": _by_cost,
}


def _sparsity_line(comparison: Comparison, rows: list[Any], places: list[AtPlace]) -> Row:
    if rows[0]["target"]:
        return comparison.line(rows, places)
    name = comparison.name(rows)
    return Row([Cell(name.text, notes=(*name.notes, "(at 0%)")), comparison.accuracy(rows[0])])


def _line_of_places(
    comparison: Comparison, rows: list[Any], places: list[AtPlace], means: dict[str, list[Cell]], width: int
) -> Row:
    method, pruned = key(rows[0])
    beside = (means.get(method) if pruned else None) or [Cell()] * width
    return Row([*comparison.line(rows, places).cells, *beside])


def _cost_line(comparison: Comparison, rows: list[Any], training: float, unit: int) -> Row:
    """Accuracy and costs of a method; training in multiples of the dense network's."""
    row = rows[0]
    shown = [
        comparison.name(rows),
        comparison.accuracy(row),
        cells.difference(row, comparison.choices.spread) if row["target"] else Cell(),
        cells.number(100 * row["effective_sparsity"]),
        cells.number(row["training_flops"] / training if training else math.nan),
        cells.number(100 * row["inference_share"]),
        cells.number(row["parameters"], 0),
        cells.number(_size(row) / 1000**unit, 1 if unit else 0),
    ]
    return Row(shown)


def _headed(targets: list[float]) -> Iterator[tuple[float, str]]:
    return zip(targets, distinct_percents(targets), strict=True)


def _columns(first: str, *others: str) -> list[Column]:
    return [Column(first), *map(_numbers, others)]


def _numbers(head: str, group: str = "") -> Column:
    return Column(head, form=hundredths, group=group)


def _places(comparison: Comparison) -> dict[str, str]:
    """The heads of leaderboards by their names, with the recipe where a model and a data set have several."""
    several = Counter((block.model, block.dataset) for block in comparison.blocks)
    return {
        block.name: f"{plain(block.model)}\non {plain(block.dataset)}"
        + (f",\n{plain(block.recipe)}" if several[block.model, block.dataset] > 1 else "")
        for block in comparison.blocks
    }


def _size(row: Any) -> float:
    """The size in bytes in the smallest form; the dense network needs no mask."""
    return float(min(row["bytes_bitmap"], row["bytes_csr"]) if row["target"] else row["bytes_dense"])


def _unit(rows: list[Any]) -> int:
    """The power of 1000 in which sizes are written, so that the smallest has digits."""
    smallest = min((size for size in map(_size, rows) if math.isfinite(size) and size), default=1000.0)
    return min(len(UNITS) - 1, int(math.log10(max(smallest, 1)) / 3))
