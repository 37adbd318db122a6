"""Tables for a terminal; a table that is too wide is printed in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table as Drawn
from rich.text import Text

from lth_bench.reports.escaping import plain
from lth_bench.reports.table import Cell, Table, captions, filled, spaced

MARGIN, PADDING = 2, 3  # characters at the edges of a table, and between its columns
STYLES = {"best": "bold", "second": "underline", "": ""} | dict.fromkeys(("reported", "family"), "italic")


def document(tables: Sequence[Table], width: int) -> Iterator[RenderableType]:
    """Tables and captions to be printed, none wider than so many characters."""
    for table, caption in captions(tables):
        yield from _parts(table, width)
        if caption:
            yield Text(plain(caption) + "\n")


def _parts(table: Table, width: int) -> Iterator[Drawn]:
    texts = [[_name(cells[0]), *map(_cell, cells[1:])] for cells in map(table.whole, table.rows)]
    heads = [plain(column.whole_head) for column in table.columns]
    first, *others = (PADDING + max(map(_width, cells)) for cells in zip(map(Text, heads), *texts, strict=True))
    for group in filled(dict(enumerate(others, 1)), width - MARGIN - first):
        drawn = Drawn(title=Text(plain(table.title)), title_justify="left", box=SIMPLE_HEAD)
        drawn.add_column(Text(heads[0]), no_wrap=True)
        for number in group:
            drawn.add_column(Text(heads[number]), justify="right", no_wrap=True)
        for row in texts:
            drawn.add_row(row[0], *(row[number] for number in group))
        yield drawn


def _name(cell: Cell) -> Text:
    return Text(plain(cell.shown))


def _cell(cell: Cell) -> Text:
    """The number with its interval on one line, the rest on the next; likewise for others in its place."""
    lines = [(line, one.mark) for one in cell.together for line in _lines(one) if line]
    return Text("\n").join(Text(plain(line), STYLES[mark]) for line, mark in lines)


def _lines(cell: Cell) -> tuple[str, str]:
    return spaced(cell.text, cell.interval), spaced(cell.against, *cell.notes)


def _width(text: Text) -> int:
    return max(line.cell_len for line in text.split(allow_blank=True))
