"""What tables show, to be compared with."""

from __future__ import annotations


def heads_of(table):
    """The heads of a table's columns, without that of the names of rows."""
    return [column.head for column in table.columns[1:]]


def cells_of(table):
    """What a table shows, by the name of a row and the head of a column."""
    heads = heads_of(table)
    return {
        name.shown: dict(zip(heads, [cell.shown for cell in cells], strict=True))
        for name, *cells in (row.cells for row in table.rows)
    }
