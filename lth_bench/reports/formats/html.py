"""Tables as an HTML file without style or script."""

from __future__ import annotations

from collections.abc import Sequence

from lth_bench.reports.escaping import html
from lth_bench.reports.table import Cell, Row, Table, captions

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<title>{}</title>
"""
MARKS = {"best": "<b>{}</b>", "second": "<u>{}</u>", "": "{}"} | dict.fromkeys(("reported", "family"), "<i>{}</i>")


def document(tables: Sequence[Table], title: str = "Tables") -> str:
    """Tables under headings, with their captions below."""
    parts = [part for table, caption in captions(tables) for part in (_heading(table), _bare(table), _below(caption))]
    return "\n".join([HEAD.format(html(title)), *filter(None, parts)]) + "\n"


def _heading(table: Table) -> str:
    return f"<h2>{html(table.title)}</h2>"


def _bare(table: Table) -> str:
    head = "".join(f"<th>{html(column.whole_head)}</th>" for column in table.columns)
    bodies = ["\n".join(["<tbody>", *(_row(row, table) for row in section), "</tbody>"]) for section in table.sections]
    return "\n".join(["<table>", f"<thead><tr>{head}</tr></thead>", *bodies, "</table>"])


def _row(row: Row, table: Table) -> str:
    name, *cells = map(_cell, row.cells)
    across = f' colspan="{len(table.columns) - 1}"' if table.spans(row) else ""
    return f"<tr><th>{name}</th>{''.join(f'<td{across}>{cell}</td>' for cell in cells)}</tr>"


def _cell(cell: Cell) -> str:
    return MARKS[cell.common_mark].format(html(cell.shown))


def _below(caption: str) -> str:
    return f"<p>{html(caption)}</p>" if caption else ""
