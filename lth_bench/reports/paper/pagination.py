"""What fits a page: widths of text as LaTeX sets it, and tables in parts and sizes that are not too large."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, groupby

from lth_bench.reports import escaping
from lth_bench.reports.paper.cells import Cell, PaperTable, Row


@dataclass(frozen=True)
class Style:
    """A size of LaTeX in a document of 10 points; the unit is the point."""

    command: str
    em: float
    line: float
    separation: float
    narrowest: float  # the width that names are given before they are set any smaller


STYLES = (
    Style(r"\normalsize", 10, 12, 6, 110),
    Style(r"\small", 9.25, 11, 4, 105),
    Style(r"\footnotesize", 8.5, 9.5, 3, 95),
    Style(r"\scriptsize", 7.97, 8, 2.5, 45),
)
SCRIPT = STYLES[-1].em  # of notes
WIDTH, HEIGHT = 344.0, 545.0  # of the text of the class article; those of conferences are no narrower
CAPTION_LINE = 74  # characters
LONGEST = 26.0  # em of a name; longer ones lose their middle
HEADER_LINE = 15  # characters
PLUS_MINUS, THIN = 1.12, 0.17  # em
WIDTHS = {" ijl.,;:'!|-": 0.31, "ftrs()[]I": 0.4, "0123456789acegoz_/": 0.5, "bdhknpquvxyJ": 0.56}  # em


@dataclass(frozen=True)
class Page:
    """A part of a table that fits a page, and how it is set; `room` is the width of names that are broken."""

    table: PaperTable
    style: Style
    room: float | None

    @cached_property
    def spreads(self) -> list[int | None]:
        """The most characters of an interval in each column; None where nothing stands behind its numbers."""
        return [
            max(len(cell.spread) for cell in column) if any(cell.spread or cell.note for cell in column) else None
            for column in self.table.columns
        ]

    def row_height(self, row: Row) -> float:
        lines = math.ceil(1.05 * self.style.em * width(shortened(row[0].text)) / self.room) if self.room else 1
        return self.style.line * lines


def pages(table: PaperTable) -> list[Page]:
    """A table in the largest style that takes the fewest pages."""
    return min((list(_pages(table, style)) for style in STYLES), key=len)


def head_lines(text: str) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(shortened(line), HEADER_LINE)]


def shortened(text: str) -> str:
    """A text without its middle, if it is long."""
    text = escaping.plain(text)
    if width(text) <= LONGEST:
        return text
    return f"{_beginning(text)}…{_beginning(text[::-1])[::-1]}"


def _beginning(text: str) -> str:
    return text[: bisect(list(accumulate(map(_character_width, text))), LONGEST / 2)]


def width(text: str) -> float:
    """About how wide Computer Modern sets a text, in em."""
    return sum(map(_character_width, text))


@cache
def _character_width(character: str) -> float:
    if not character.isascii():
        return 4.4 if "U+" in escaping.latex(character) else 0.8
    return next((width for characters, width in WIDTHS.items() if character in characters), 0.8)


def _pages(table: PaperTable, style: Style) -> Iterator[Page]:
    """The parts of a table that fit on pages, by columns and then by rows."""
    caption = len(table.caption) / CAPTION_LINE * 12 + 25
    for part in _narrowed(table, style):
        whole = Page(part, style, _room(part, style))
        for sections in _lowered(whole, max(HEIGHT - caption, HEIGHT / 4)):
            yield dataclasses.replace(whole, table=dataclasses.replace(part, sections=sections))


def _narrowed(table: PaperTable, style: Style) -> Iterator[PaperTable]:
    """The columns of a table in as many parts as it takes for each to fit."""
    columns = list(range(1, len(table.header)))
    while columns:
        count = 1
        while count < len(columns) and _is_narrow(_taken(table, columns[: count + 1]), style):
            count += 1
        yield _taken(table, columns[:count])
        columns = columns[count:]


def _taken(table: PaperTable, columns: list[int]) -> PaperTable:
    header = [table.header[0], *(table.header[number] for number in columns)]
    sections = [
        [row if table.spans(row) else [row[0], *(row[number] for number in columns)] for row in section]
        for section in table.sections
    ]
    return dataclasses.replace(table, header=header, sections=sections)


def _is_narrow(table: PaperTable, style: Style) -> bool:
    room = _room(table, style)
    return room is None or room > style.narrowest


def _room(table: PaperTable, style: Style) -> float | None:
    names = max((style.em * width(shortened(row[0].text)) for row in table.rows), default=0.0)
    widths = [_column_width(text, cells, style) for text, cells in zip(table.header[1:], table.columns, strict=True)]
    room = WIDTH - sum(widths) - 2 * style.separation * len(widths)
    return None if names < room else room


def _column_width(header: str, cells: list[Cell], style: Style) -> float:
    """Of the widest number and the widest texts behind one, or of what is set across both."""
    numbers = [_widths(cell, style) for cell in cells if cell.is_number]
    across = [sum(_widths(cell, style)) for cell in cells if not cell.is_number]
    heads = [style.em * width(line) for line in head_lines(header)]
    return max([sum(map(max, zip(*numbers, strict=True)), 0.0), *across, *heads])


def _widths(cell: Cell, style: Style) -> tuple[float, float, float]:
    """Of the text, of the interval and of the note."""
    text = style.em * width(cell.text) * (1.15 if cell.bold else 1.0)
    spread = style.em * (PLUS_MINUS + width(cell.spread.removeprefix("± "))) if cell.spread else 0.0
    note = style.em * THIN + SCRIPT * width(f"({cell.note})") if cell.note else 0.0
    return text, spread, note


def _lowered(page: Page, height: float) -> Iterator[list[list[Row]]]:
    """The sections of a page in as many parts as it takes for each to be no higher, of about equal heights."""
    sections = page.table.sections
    rows = [(number, row) for number, section in enumerate(sections) for row in section]
    taken = list(accumulate((page.row_height(row) for _, row in rows), initial=0.0))
    head = max(len(head_lines(text)) for text in page.table.header)
    count = math.ceil(taken[-1] / (height - page.style.line * (head + 2 + len(sections) / 2)))
    parts = [int(count * before / taken[-1]) for before in taken[:-1]]
    for _, part in groupby(zip(parts, rows, strict=True), lambda item: item[0]):
        yield [[row for _, (_, row) in some] for _, some in groupby(part, lambda item: item[1][0])]
