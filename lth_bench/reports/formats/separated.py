"""Tables as comma-separated values: numbers stand alone, their intervals, marks and notes in columns of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lth_bench.reports import escaping
from lth_bench.reports.table import Cell, Column, Table


def document(tables: Sequence[Table]) -> str:
    """Tables one below the other: a line of heads, the rows without heads of families, and title and caption."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for number, table in enumerate(tables):
        writer.writerows([[]] * (number > 0))
        rows = [row for row in table.rows if row.cells[0].mark != "family"]
        cells = zip(*map(table.whole, rows), strict=True) if rows else [()] * len(table.columns)
        columns = [part for pair in zip(table.columns, cells, strict=True) for part in _columns(*pair)]
        writer.writerows(zip(*columns, strict=True))
        writer.writerow([escaping.csv(f"{table.title}. {table.caption}")])
    return file.getvalue()


def _columns(column: Column, cells: Sequence[Cell]) -> list[list[str]]:
    """A column; one of numbers is followed by columns for what belongs to them."""
    if column.form is None:
        return [list(map(escaping.csv, [column.whole_head, *(cell.shown for cell in cells)]))]
    behind = {
        "±": [cell.interval.removeprefix("± ") for cell in cells],
        "difference": [cell.difference for cell in cells],
        "place": [cell.mark if cell.mark in ("best", "second") else "" for cell in cells],
        "note": ["; ".join(note.strip("()[]") for note in cell.notes) for cell in cells],
    }
    first = [escaping.csv(column.whole_head), *map(_text, cells)]
    more = {name: texts for name, texts in behind.items() if any(texts)}
    return [first, *(list(map(escaping.csv, [f"{column.whole_head} {name}", *texts])) for name, texts in more.items())]


def _text(cell: Cell) -> str:
    return escaping.csv(cell.text) if cell.value is None else cell.text.replace(",", "")
