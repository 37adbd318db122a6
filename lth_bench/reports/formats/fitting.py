"""How a table fills the width and height of a page: in the largest size that fits, else in parts."""

from __future__ import annotations

import math
import textwrap
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lth_bench.reports.escaping import settable, shortened
from lth_bench.reports.formats.venues import Venue
from lth_bench.reports.table import Cell, Column, Row, Table, filled

SIZES = (9.0, 8.0, 7.0)  # points of text, the largest that fits; nothing is printed smaller
BROADER = {9.0: 1.03, 8.0: 1.065, 7.0: 1.14}  # Computer Modern in these sizes, than in its own
LEADING = 1.2  # from line to line, in sizes of text
GAP = 0.8  # em between two columns
SLACK = 0.97  # of a width; how wide text is can only be estimated
NAMES = 0.34  # of a width at most are names where they would leave too little; longer ones break into lines
HEAD_LINE = 15  # characters of a line in a head
RULES = 3  # lines that the rules of a table take
NUMBERED, AUTHORS = 2.0, 10.0  # em of a citation
INDENT = 1.0  # em
WIDTHS = [(0.28, " !',.:;|ijl"), (0.39, "()-/I[]frst"), (0.8, "%MWmw±×≈≥≤−—…"), (0.7, "ABCDEFGHJKLNOPQRSTUVXYZ†‡")]
EMS = {letter: width for width, letters in WIDTHS for letter in letters}
USUAL = 0.5  # em of all other characters


@dataclass(frozen=True)
class Part:
    """Some columns and rows of a table, set in a `size`.

    `names` is the width in points of names that break into lines. `intervals` holds for each column the most characters
    of an interval, or None if its cells are numbers alone.
    """

    table: Table
    intervals: list[int | None]
    size: float
    names: float | None

    @property
    def width(self) -> int:
        """How many columns of LaTeX the numbers take."""
        return sum(map(taken, self.intervals))

    @property
    def height(self) -> float:
        """Points that it takes, with its heads and rules."""
        return self.above + sum(map(self.lines, self.table.rows)) * LEADING * self.size

    @property
    def above(self) -> float:
        """Points that heads and rules take."""
        heads = max(len(head_lines(column)) for column in self.table.columns)
        groups = max(len(wrapped(column.group)) for column in self.table.columns)
        return (heads + groups + RULES + 0.5 * len(self.table.sections)) * LEADING * self.size

    def lines(self, row: Row) -> int:
        """The lines of a row: those of its name, of which all but the first are indented."""
        if self.names is None:
            return 1
        lines, room = 1, self.names / self.size
        for word in [*map(ems, name_text(row).split()), *[AUTHORS / 3] * 3 * bool(row.cells[0].citation)]:
            if word > room and room < self.names / self.size:
                lines, room = lines + 1, self.names / self.size - INDENT
            room -= word + EMS[" "]
        return lines


def parts(table: Table, venue: Venue) -> list[Part]:
    """A table as wide as a page: whole in the largest size that fits, else its columns in the fewest parts."""
    columns, names = _columns(table), _names(table, venue)
    for size in SIZES:
        if names + sum(columns.values()) <= _room(venue, size):
            return [_part(table, list(columns), size, None)]
    width = _names_width(table, venue)
    return _in_parts(table, venue, width if width < names else None)


def long_parts(table: Table, venue: Venue) -> list[Part]:
    """A table in parts that break across pages, in which names may break into lines."""
    return _in_parts(table, venue, _names_width(table, venue))


def pieces(part: Part, first: float, others: float) -> Iterator[Part]:
    """The rows of a part in pieces of so many points; the head of a family stays with the row below it."""
    sections: list[list[Row]] = []
    room = first - part.above
    for section in part.table.sections:
        sections.append([])
        for row in section:
            needed = (part.lines(row) + (row.cells[0].mark == "family")) * LEADING * part.size
            if needed > room and any(sections):
                yield replace(part, table=replace(part.table, sections=list(filter(None, sections))))
                sections, room = [[]], others - part.above
            sections[-1].append(row)
            room -= part.lines(row) * LEADING * part.size
    yield replace(part, table=replace(part.table, sections=list(filter(None, sections))))


def taken(interval: int | None) -> int:
    """How many columns of LaTeX a column takes."""
    return 1 if interval is None else 2


def ems(text: str) -> float:
    """About how wide a line of text is, in units of its size."""
    return sum(EMS.get(letter, USUAL) for letter in text)


def name_text(row: Row) -> str:
    """A row's name and marks as LaTeX can set them; a long name loses its middle."""
    name = row.cells[0]
    return " ".join([shortened(settable(name.text)), *name.notes])


def head_lines(column: Column) -> list[str]:
    return wrapped(column.head)


def wrapped(head: str) -> list[str]:
    """The lines of a head."""
    return [part for line in head.split("\n") for part in textwrap.wrap(shortened(settable(line)), HEAD_LINE)]


def _em(venue: Venue, size: float) -> float:
    """What `ems` counts in, in points."""
    return size if venue.is_times else BROADER[size] * size


def _room(venue: Venue, size: float) -> float:
    """How many em of text fit."""
    return SLACK * venue.width / _em(venue, size)


def _names(table: Table, venue: Venue) -> float:
    """How wide the names of rows are, with what they cite."""
    citation = AUTHORS if venue.cites_authors else NUMBERED
    names = (ems(name_text(row)) + (citation if row.cells[0].citation else 0) for row in table.rows)
    return max([ems(table.columns[0].head), *names])


def _columns(table: Table) -> dict[int, float]:
    """How wide each column is with the room before it: its widest number with what belongs to it, or its head."""
    beside = Counter(column.group for column in table.columns)
    shared = [max(map(ems, wrapped(column.group)), default=0) / beside[column.group] for column in table.columns]
    return {number: GAP + max(_width(table, number), shared[number]) for number in range(1, len(table.columns))}


def _width(table: Table, number: int) -> float:
    column, cells = table.columns[number], table.along(number)
    numbers = [cell for cell in cells if _is_number(cell)]
    interval = max((cell.interval for cell in numbers), key=len, default="")
    behind = [ems(" ".join(filter(None, (cell.interval and interval, cell.against, *cell.notes)))) for cell in numbers]
    together = max((ems(cell.text) for cell in numbers), default=0) + max(behind, default=0)
    alone = [*head_lines(column), *(settable(cell.shown) for cell in cells if not _is_number(cell))]
    return max([together, *map(ems, alone)])


def _is_number(cell: Cell) -> bool:
    return cell.value is not None and not cell.beside


def _filled(table: Table, widths: dict[int, float], room: float) -> list[list[int]]:
    """The numbers of columns in as few parts as fit; where that takes no more, columns of a group stay together."""
    alone = [[number] for number in widths]
    groups = groupby(widths, key=lambda number: table.columns[number].group or number)
    together = [list(numbers) for _, numbers in groups]
    apart = _evenly(alone, widths, room)
    if max(sum(widths[number] for number in group) for group in together) > room:
        return apart
    whole = _evenly(together, widths, room)
    return whole if len(whole) <= len(apart) else apart


def _evenly(groups: list[list[int]], widths: dict[int, float], room: float) -> list[list[int]]:
    """Groups of columns in as few parts as fit, evenly filled."""
    tenths = {place: math.ceil(10 * sum(widths[number] for number in group)) for place, group in enumerate(groups)}
    most = max(int(10 * room), 0)
    fewest = len(filled(tenths, most))
    least = bisect_left(range(most), -fewest, key=lambda width: -len(filled(tenths, width)))
    parts = filled(tenths, least)
    return [[number for place in part for number in groups[place]] for part in parts]


def _in_parts(table: Table, venue: Venue, names: float | None) -> list[Part]:
    """A table in the smallest size, with names that break into lines of so many em."""
    width = None if names is None else names * _em(venue, SIZES[-1])
    return [_part(table, numbers, SIZES[-1], width) for numbers in _apart(table, venue)]


def _apart(table: Table, venue: Venue) -> list[list[int]]:
    """The numbers of the columns of each part, in the smallest size."""
    room = _room(venue, SIZES[-1])
    return _filled(table, _columns(table), room - min(_names(table, venue), NAMES * room))


def _names_width(table: Table, venue: Venue) -> float:
    """How wide names may be, in em: what columns leave, but no more than they take."""
    room, columns = _room(venue, SIZES[-1]), _columns(table)
    left = room - max(sum(columns[number] for number in numbers) for numbers in _apart(table, venue))
    return min(max(left, NAMES * room), _names(table, venue))


def _part(table: Table, numbers: Sequence[int], size: float, names: float | None) -> Part:
    def chosen(row: Row) -> Row:
        return row if table.spans(row) else Row([row.cells[0], *(row.cells[number] for number in numbers)])

    sections = [list(map(chosen, section)) for section in table.sections if section]
    columns = [table.columns[0], *(table.columns[number] for number in numbers)]
    intervals = [_longest_interval(table.along(number)) for number in numbers]
    return Part(replace(table, columns=columns, sections=sections), intervals, size, names)


def _longest_interval(cells: Sequence[Cell]) -> int | None:
    behind = any(cell.interval or cell.difference or cell.notes for cell in cells)
    return max(len(cell.interval) for cell in cells) if behind else None
