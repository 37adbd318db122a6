"""The heads and rows of a tabular of LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from lth_bench.reports.escaping import latex, settable, shortened
from lth_bench.reports.formats.fitting import Part, head_lines, taken, wrapped
from lth_bench.reports.table import Cell, Column, Row

LONGEST_WORD = 20  # characters that stand unbroken
MARKS = {
    "best": r"\textbf{{{}}}",
    "second": r"\underline{{{}}}",
    "reported": r"\textit{{{}}}",
    "family": r"\textit{{{}}}",
    "": "{}",
}
SIGNS = ("†", "‡", "§")  # behind a name, on the same line
BREAKING = r"\raggedright\hangindent=1em\hspace{0pt}"
"""Before names that break into lines."""


def body(part: Part) -> list[str]:
    return [*head(part), rows(part), r"\bottomrule"]


def head(part: Part) -> list[str]:
    first, *others = part.table.columns
    heads = [_lines(head_lines(first), "l"), *map(_column_head, others, part.intervals)]
    return [r"\toprule", *_groups(part), rf"{' & '.join(heads)} \\", r"\midrule"]


def rows(part: Part) -> str:
    before = "" if part.names is None else BREAKING
    sections = ["\n".join(before + _row(row, part) for row in section) for section in part.table.sections]
    return "\n\\midrule\n".join(sections)


def breakable(text: str) -> str:
    """The text, in which words too long for a line may break anywhere."""
    return re.sub(r" (?=\$\\d?dagger\$)", "~", " ".join(map(_word, settable(text).split())))


def _groups(part: Part) -> Iterator[str]:
    """The heads above the heads, with rules below them."""
    columns = part.table.columns[1:]
    if not any(column.group for column in columns):
        return
    heads, rules, start = [], [], 2
    for name, group in groupby(zip(columns, part.intervals, strict=True), key=lambda pair: pair[0].group):
        width = sum(taken(interval) for _, interval in group)
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{_lines(wrapped(name), 'c')}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if name else []
        start += width
    yield rf" & {' & '.join(heads)} \\"
    yield "".join(rules)


def _column_head(column: Column, interval: int | None) -> str:
    """The head of a column, which may consist of two columns of LaTeX."""
    lines = head_lines(column)
    return _lines(lines, "r") if interval is None else rf"\multicolumn{{2}}{{c}}{{{_lines(lines, 'c')}}}"


def _lines(lines: list[str], side: str) -> str:
    joined = r" \\ ".join(map(latex, lines))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{joined}\end{{tabular}}" if len(lines) > 1 else joined


def _row(row: Row, part: Part) -> str:
    name = MARKS[row.cells[0].mark].format(_named(row.cells[0]))
    if part.table.spans(row):
        cells = [_across(row.cells[1], part.width)]
    else:
        cells = list(map(_cell, row.cells[1:], part.intervals))
    return rf"{' & '.join([name, *cells])} \\"


def _named(name: Cell) -> str:
    """A row's name with its citation, and its marks."""
    cited = rf"~\cite{{{name.citation}}}" if name.citation else ""
    text = breakable(shortened(settable(name.text))) + cited
    notes = [rf"~{latex(note)}" if note in SIGNS else f" {latex(note)}" for note in name.notes]
    return "".join([text, *notes])


def _cell(cell: Cell, interval: int | None) -> str:
    if cell.value is None or cell.beside:
        return _across(cell, taken(interval))
    return _text(cell) if interval is None else f"{_text(cell)} & {_behind(cell, interval)}"


def _across(cell: Cell, columns: int) -> str:
    texts = (f"{_text(one)}{_behind(one, 0)}" for one in cell.together)
    return rf"\multicolumn{{{columns}}}{{c}}{{{'; '.join(texts)}}}"


def _text(cell: Cell) -> str:
    return MARKS[cell.mark].format(latex(_minus(cell.text))) if cell.text else ""


def _behind(cell: Cell, interval: int) -> str:
    """Interval, difference and notes of a number; the interval is padded to the widest of its column."""
    digits = "0" * (interval - len(cell.interval))
    phantom = rf"\phantom{{{digits}}}" if digits else ""
    half = cell.interval.removeprefix("± ")
    plain = rf"\,{latex(_minus(half))}" if half else ""
    around = plain if half == cell.interval else rf"$\,\pm\,${phantom}{latex(half)}"
    difference = rf"\,({latex(_minus(cell.difference))})" if cell.difference else ""
    notes = rf"\,{{\scriptsize {latex(_minus(' '.join(cell.notes)))}}}" if cell.notes else ""
    return f"{around}{difference}{notes}"


def _minus(text: str) -> str:
    """The text with minus signs in place of hyphens before digits."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _word(word: str) -> str:
    return latex(word) if len(word) < LONGEST_WORD else r"\allowbreak ".join(map(latex, word))
