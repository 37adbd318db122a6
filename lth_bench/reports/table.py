"""A table: cells of plain text and what belongs to each; `formats` shows it as Markdown, LaTeX, HTML, CSV or text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

from lth_bench.reports.numbers import MISSING, Form, bounds

Record = Mapping[str, Any]
Mark = Literal["", "best", "reported"]


@dataclass(frozen=True)
class Cell:
    """Words, or a number with its interval and what a reader has to know of it.

    `interval` is such as "± 1.56" or "[-0.31, 0.52]", `difference` is to what the number is compared with, `value` is
    the number itself, None for words; `tone` says how a page colours the cell, and `beside` are further cells in its
    place. Interval and difference are made of numbers, whatever strangers may have written into text and notes.
    """

    text: str = ""
    interval: str = ""
    difference: str = ""
    notes: tuple[str, ...] = ()
    mark: Mark = ""
    tone: str = ""
    value: float | None = field(default=None, compare=False)
    beside: tuple[Cell, ...] = ()

    @property
    def against(self) -> str:
        """The difference in brackets."""
        return f"({self.difference})" if self.difference else ""

    @property
    def together(self) -> tuple[Cell, ...]:
        """All that stand in this place."""
        return (self, *self.beside)

    @property
    def shown(self) -> str:
        """All that stands in this place, on one line."""
        return "; ".join(dict.fromkeys(spaced(c.text, c.interval, c.against, *c.notes) for c in self.together))

    @property
    def common_mark(self) -> Mark:
        """The mark of all that stand in this place, if they have the same."""
        return self.mark if len({cell.mark for cell in self.together}) == 1 else ""


NOTHING = Cell(MISSING)


@dataclass(frozen=True)
class Column:
    """A column by its head; as part of a listing, also where its cells come from and what they mean.

    `name` is a field of the listed records, `form` says how its numbers are written (None: it holds words), and
    `hint` what they mean; columns of one `group` stand under one more head. With `interval`, the fields `NAME_lower`
    and `NAME_upper` bound the numbers. `notes` is a field that holds notes. `data` is for the script of a page.
    """

    head: str
    name: str = ""
    form: Form | None = None
    hint: str = ""
    group: str = ""
    interval: bool = False
    notes: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    def cell(self, record: Record) -> Cell:
        value = record[self.name]
        if self.form is None:
            return Cell(str(value) or MISSING, notes=tuple(record[self.notes]) if self.notes else ())
        if math.isnan(value):
            return NOTHING
        lower, upper = (record[f"{self.name}_{end}"] if self.interval else math.nan for end in ("lower", "upper"))
        return Cell(self.form(value), bounds(lower, upper, self.form), value=value)


@dataclass(frozen=True)
class Row:
    """The cells of a row, of which the first names it; if there are only two, the second may span all columns.

    `data` is for the script of a page.
    """

    cells: Sequence[Cell]
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table in sections; `caption` says what has to be known to read it, `label` is what a text refers to it by."""

    title: str
    columns: Sequence[Column]
    sections: Sequence[Sequence[Row]]
    caption: str = ""
    label: str = ""

    @property
    def rows(self) -> list[Row]:
        return [row for section in self.sections for row in section]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The heads above the heads, and over how many columns each stands."""
        return [(name, len(list(columns))) for name, columns in groupby(column.group for column in self.columns)]

    def spans(self, row: Row) -> bool:
        return len(row.cells) < len(self.columns)

    def whole(self, row: Row) -> list[Cell]:
        """A cell for every column: one that spans several is repeated."""
        name, *cells = row.cells
        return [name, *cells * (len(self.columns) - 1 if self.spans(row) else 1)]

    def along(self, number: int) -> list[Cell]:
        """The cells of a column, without those that span several."""
        return [row.cells[number] for row in self.rows if not self.spans(row)]


def listing(title: str, columns: Sequence[Column], records: Sequence[Record]) -> Table:
    """A row for each record; columns of numbers of which none is known are left out."""
    shown = [c for c in columns if c.form is None or not all(math.isnan(record[c.name]) for record in records)]
    rows = [Row([column.cell(record) for column in shown], record.get("data", {})) for record in records]
    return Table(title, shown, [rows])


def grid(
    records: Sequence[Record], name: Callable[[Record], Cell], cell: Callable[[Record], Cell]
) -> tuple[list[float], dict[Cell, list[Cell]]]:
    """The places of records in ascending order, and by name the cells in these places; several may share one."""
    places = sorted({record["place"] for record in records})
    rows: dict[Cell, dict[float, list[Cell]]] = {}
    for record in records:
        rows.setdefault(name(record), {}).setdefault(record["place"], []).append(cell(record))
    return places, {title: [_stacked(cells.get(place, [])) for place in places] for title, cells in rows.items()}


def captions(tables: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """Tables with the captions to be printed below them: neighbours that share one have it below the last."""
    for table, following in zip(tables, [*tables[1:], None], strict=True):
        yield table, "" if following and following.caption == table.caption else table.caption


def labelled(tables: Iterable[Table]) -> Iterator[Table]:
    """Tables with labels of their own: of several that have one, the second and later are numbered."""
    counts: Counter[str] = Counter()
    for table in tables:
        counts[table.label] += 1
        number = f"-{counts[table.label]}" if counts[table.label] > 1 else ""
        yield replace(table, label=table.label + number)


def filled(widths: Mapping[int, int], width: int) -> list[list[int]]:
    """Columns in parts that are no wider than that, unless a single column is."""
    parts: list[list[int]] = [[]]
    room = width
    for number, needed in widths.items():
        if parts[-1] and needed > room:
            parts.append([])
            room = width
        parts[-1].append(number)
        room -= needed
    return parts


def _stacked(cells: Sequence[Cell]) -> Cell:
    if not cells:
        return NOTHING
    first, *others = cells
    return replace(first, beside=tuple(others))


def spaced(*parts: str) -> str:
    return " ".join(filter(None, parts))
