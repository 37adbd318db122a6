"""The one model of a table, in plain text; the modules of `formats` and the page render it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

from lth_bench.reports.numbers import MISSING, Form, bounds

Fields = Mapping[str, Any]
"""The values behind a row, by name."""
Mark = Literal["", "best", "second", "reported", "family"]


@dataclass(frozen=True)
class Cell:
    """Words, or a number with what belongs to it.

    `interval` is such as "± 1.56" or "[-0.31, 0.52]", `difference` compares the number with another, `value` is the
    number itself (None for words), `tone` colours the cell on a page, and `beside` holds further cells in the same
    place. `link` is an address and `citation` the key of a bibliography's entry. Interval and difference are made of
    numbers; text and notes may come from strangers.
    """

    text: str = ""
    interval: str = ""
    difference: str = ""
    notes: tuple[str, ...] = ()
    mark: Mark = ""
    tone: str = ""
    value: float | None = field(default=None, compare=False)
    beside: tuple[Cell, ...] = ()
    link: str = ""
    citation: str = ""

    @property
    def against(self) -> str:
        """The difference in brackets."""
        return f"({self.difference})" if self.difference else ""

    @property
    def together(self) -> tuple[Cell, ...]:
        """All cells in this place."""
        return (self, *self.beside)

    @property
    def shown(self) -> str:
        """All text in this place, on one line."""
        return "; ".join(dict.fromkeys(spaced(c.text, c.interval, c.against, *c.notes) for c in self.together))

    @property
    def common_mark(self) -> Mark:
        """The mark that all cells in this place share, if they do."""
        return self.mark if len({cell.mark for cell in self.together}) == 1 else ""


NOTHING = Cell(MISSING)


@dataclass(frozen=True)
class Column:
    """The head of a column, and how a listing fills it.

    `name` is the field that it shows, `form` writes its numbers (None: it holds words), `hint` explains them, and
    columns of one `group` share a head above their heads. With `interval`, the fields `NAME_lower` and `NAME_upper`
    bound the numbers. `notes` names a field with notes and `link` one with an address. `data` are attributes for the
    script of a page.
    """

    head: str
    name: str = ""
    form: Form | None = None
    hint: str = ""
    group: str = ""
    interval: bool = False
    notes: str = ""
    link: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole_head(self) -> str:
        """The head with the one above it."""
        head = self.head.replace("-\n", "")
        return f"{self.group}, {head}" if self.group else head

    def cell(self, record: Fields) -> Cell:
        value = record[self.name]
        if self.form is None:
            notes = tuple(record[self.notes]) if self.notes else ()
            return Cell(str(value) or MISSING, notes=notes, link=record[self.link] if self.link else "")
        if math.isnan(value):
            return NOTHING
        lower, upper = (record[f"{self.name}_{end}"] if self.interval else math.nan for end in ("lower", "upper"))
        return Cell(self.form(value), bounds(lower, upper, self.form), value=value)


@dataclass(frozen=True)
class Row:
    """The cells of a row, of which the first names it; the second of two may span all other columns.

    `data` are attributes for the script of a page.
    """

    cells: Sequence[Cell]
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table, its rows in sections; `caption` says how to read it, and `label` is the anchor of references."""

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
        """The heads above the heads, each with the number of its columns."""
        return [(name, len(list(columns))) for name, columns in groupby(column.group for column in self.columns)]

    def spans(self, row: Row) -> bool:
        return len(row.cells) < len(self.columns)

    def whole(self, row: Row) -> list[Cell]:
        """A cell for every column; one that spans several is repeated."""
        name, *cells = row.cells
        return [name, *cells * (len(self.columns) - 1 if self.spans(row) else 1)]

    def along(self, number: int) -> list[Cell]:
        """The cells of a column, without those that span several."""
        return [row.cells[number] for row in self.rows if not self.spans(row)]


def listing(title: str, columns: Sequence[Column], records: Sequence[Fields]) -> Table:
    """A table with a row for each record, without the columns whose numbers are all NaN."""
    shown = [c for c in columns if c.form is None or not all(math.isnan(record[c.name]) for record in records)]
    rows = [Row([column.cell(record) for column in shown], record.get("data", {})) for record in records]
    return Table(title, shown, [rows])


def grid(
    records: Sequence[Fields], name: Callable[[Fields], Cell], cell: Callable[[Fields], Cell]
) -> tuple[list[float], dict[Cell, list[Cell]]]:
    """The places of records in ascending order, and the cells at these places by name; several may share a place."""
    places = sorted({record["place"] for record in records})
    rows: dict[Cell, dict[float, list[Cell]]] = {}
    for record in records:
        rows.setdefault(name(record), {}).setdefault(record["place"], []).append(cell(record))
    return places, {title: [_stacked(cells.get(place, [])) for place in places] for title, cells in rows.items()}


def captions(tables: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """Tables with the captions to print below them: neighbours that share one have it once, below the last."""
    for table, following in zip(tables, [*tables[1:], None], strict=True):
        yield table, "" if following and following.caption == table.caption else table.caption


def labelled(tables: Iterable[Table]) -> Iterator[Table]:
    """Tables with distinct labels: repeated ones are numbered."""
    counts: Counter[str] = Counter()
    for table in tables:
        counts[table.label] += 1
        number = f"-{counts[table.label]}" if counts[table.label] > 1 else ""
        yield replace(table, label=table.label + number)


def filled(widths: Mapping[int, int], width: int) -> list[list[int]]:
    """The numbers of columns in parts of at most this width; a wider column is a part of its own."""
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
