"""Tables as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lth_bench.reports.escaping import markdown
from lth_bench.reports.table import Cell, Table, captions, spaced

MARKS = {"best": ("**", "**"), "second": ("<ins>", "</ins>"), "": ("", "")} | dict.fromkeys(
    ("reported", "family"), ("*", "*")
)


def document(tables: Sequence[Table]) -> str:
    """Tables under headings, with their captions below."""
    parts = [part for table, caption in captions(tables) for part in (_heading(table), bare(table), markdown(caption))]
    return "\n\n".join(filter(None, parts)) + "\n"


def bare(table: Table) -> str:
    """A table alone."""
    cells = pd.DataFrame([[_cell(cell) for cell in table.whole(row)] for row in table.rows])
    heads = [markdown(column.whole_head) for column in table.columns]
    return cells.to_markdown(index=False, disable_numparse=True, headers=heads)


def _heading(table: Table) -> str:
    return f"### {markdown(table.title)}" if table.title else ""


def _cell(cell: Cell) -> str:
    before, behind = MARKS[cell.common_mark]
    return f"{before}{'; '.join(dict.fromkeys(map(_one, cell.together)))}{behind}"


def _one(cell: Cell) -> str:
    return spaced(markdown(cell.text), cell.interval, cell.against, *map(markdown, cell.notes))
