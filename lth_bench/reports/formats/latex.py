"""Tables as LaTeX: floats that are never wider than the text, and long ones that break across pages."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lth_bench.reports.escaping import latex, settable, shortened, slug
from lth_bench.reports.table import Cell, Column, Row, Table, filled

PREAMBLE = r"""% In the preamble: \usepackage{booktabs,graphicx,longtable}
% Tables are shrunk to the width of the text. Where that leaves too little, write table* for table, or take fewer rows
% and columns; in a document of two columns, \onecolumn has to stand before a longtable, and \twocolumn behind it.
"""
HIGHEST = 40  # lines of a float, heads included; tables of more become longtables
WIDEST, WIDEST_LONG = 84, 66  # characters beside the names; columns beyond them go into another part
RULES = 3  # lines that the rules of a table take
BETWEEN = 2  # characters that the room between two columns takes
LONGEST_NAME = 40  # characters of a name in a float
LONGEST_WORD = 20  # characters that stand unbroken
HEAD_LINE = 15  # characters
FLOATS = 30  # between page breaks: LaTeX keeps no more than 52 until it has a page for them
SAME_NUMBER = r"\addtocounter{table}{-1}"
MARKS = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "reported": r"\textit{{{}}}", "": "{}"}


def document(tables: Sequence[Table]) -> str:
    r"""Tables one after the other, as a file for `\input`."""
    parts = [_table(table) for table in tables]
    groups = ["\n\n".join(parts[start : start + FLOATS]) for start in range(0, len(parts), FLOATS)]
    return PREAMBLE + "\n\n\\clearpage\n\n".join(groups) + "\n"


@dataclass(frozen=True)
class _Part:
    """Some columns of a table.

    `intervals` holds for each column the most characters of an interval, or None if its cells are numbers alone.
    """

    table: Table
    intervals: list[int | None]

    @property
    def width(self) -> int:
        """How many columns of LaTeX the numbers take."""
        return sum(map(_width, self.intervals))

    @property
    def columns(self) -> str:
        return "".join("r" if interval is None else "r@{}l" for interval in self.intervals)


def _table(table: Table) -> str:
    parts = _parts(table, WIDEST)
    names = max((len(_name(row)) for row in table.rows), default=0)
    if sum(map(_height, parts)) <= HIGHEST and names <= LONGEST_NAME:
        return _float(table, parts)
    first, *others = _parts(table, WIDEST_LONG)
    further = [f"{_longtable(part, _again(part))}\n{SAME_NUMBER}" for part in others]
    return "\n".join([_longtable(first, _caption(table)), *further])


def _parts(table: Table, widest: int) -> list[_Part]:
    """The columns in as few parts as are at most so many characters wide, evenly filled."""
    widths = {number: _characters(table, number) for number in range(1, len(table.columns))}
    fewest = len(filled(widths, widest))
    width = next(width for width in range(widest + 1) if len(filled(widths, width)) == fewest)
    return [_part(table, numbers) for numbers in filled(widths, width)]


def _part(table: Table, numbers: Sequence[int]) -> _Part:
    def taken(row: Row) -> Row:
        return row if table.spans(row) else Row([row.cells[0], *(row.cells[number] for number in numbers)])

    sections = [list(map(taken, section)) for section in table.sections if section]
    columns = [table.columns[0], *(table.columns[number] for number in numbers)]
    intervals = [_longest_interval(table.along(number)) for number in numbers]
    return _Part(replace(table, columns=columns, sections=sections), intervals)


def _height(part: _Part) -> int:
    """The lines that a part takes, with its heads and rules."""
    return len(part.table.rows) + max(len(_head_lines(column)) for column in part.table.columns) + RULES


def _characters(table: Table, number: int) -> int:
    """The characters that a column takes: its widest number with what belongs to it, or its head."""
    cells = [(cell.text, cell.interval, cell.difference, " ".join(cell.notes)) for cell in table.along(number)]
    parts = [max(map(len, texts)) for texts in zip(*cells, strict=True)]
    texts = [*_head_lines(table.columns[number]), *(cell.shown for cell in table.along(number))]
    return BETWEEN + max([sum(parts), *map(len, texts)])


def _longest_interval(cells: Sequence[Cell]) -> int | None:
    behind = any(cell.interval or cell.difference or cell.notes for cell in cells)
    return max(len(cell.interval) for cell in cells) if behind else None


def _float(table: Table, parts: Sequence[_Part]) -> str:
    """A float with the parts below each other, at one scale."""
    tabulars = [
        "\n".join([rf"\begin{{tabular}}{{@{{}}l{part.columns}@{{}}}}", *_body(part), r"\end{tabular}"])
        for part in parts
    ]
    stacked = "\\\\\\noalign{\\bigskip}\n".join(tabulars)
    whole = f"\\begin{{tabular}}{{@{{}}l@{{}}}}\n{stacked}\n\\end{{tabular}}" if len(parts) > 1 else stacked
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        _caption(table),
        r"\smallskip\footnotesize\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"{whole}}}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _longtable(part: _Part, caption: str) -> str:
    """A part that breaks across pages."""
    head = "\n".join(_head(part))
    lines = [
        r"\begingroup\scriptsize\setlength{\tabcolsep}{2.5pt}\setlength{\LTcapwidth}{\linewidth}",
        rf"\begin{{longtable}}{{@{{}}p{{0.28\linewidth}}{part.columns}@{{}}}}",
        rf"{caption}\\",
        head,
        r"\endfirsthead",
        rf"{_again(part)}\\",
        head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        _sections(part, r"\raggedright\hangindent=1em\hspace{0pt}"),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join(lines)


def _again(part: _Part) -> str:
    """The line above later pages and parts of a table."""
    return rf"\multicolumn{{{part.width + 1}}}{{@{{}}l}}{{Table~\ref{{{_label(part.table)}}}, continued}}"


def _caption(table: Table) -> str:
    title = _breakable(table.title)
    whole = _breakable(f"{table.title}. {table.caption}")
    return f"\\caption[{{{title}}}]{{{whole}}}\\label{{{_label(table)}}}"


def _label(table: Table) -> str:
    return f"tab:{table.label or slug(table.title)}"


def _body(part: _Part) -> list[str]:
    return [*_head(part), _sections(part), r"\bottomrule"]


def _head(part: _Part) -> list[str]:
    first, *others = part.table.columns
    heads = [_lines(first, "l"), *map(_column_head, others, part.intervals)]
    return [r"\toprule", rf"{' & '.join(heads)} \\", r"\midrule"]


def _column_head(column: Column, interval: int | None) -> str:
    """The head of a column, which may consist of two columns of LaTeX."""
    return _lines(column, "r") if interval is None else rf"\multicolumn{{2}}{{c}}{{{_lines(column, 'c')}}}"


def _lines(column: Column, side: str) -> str:
    texts = list(map(latex, _head_lines(column)))
    joined = r" \\ ".join(texts)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{joined}\end{{tabular}}" if len(texts) > 1 else joined


def _head_lines(column: Column) -> list[str]:
    lines = column.head.split("\n")
    return [part for line in lines for part in textwrap.wrap(shortened(settable(line)), HEAD_LINE)]


def _sections(part: _Part, before_name: str = "") -> str:
    sections = ["\n".join(before_name + _row(row, part) for row in section) for section in part.table.sections]
    return "\n\\midrule\n".join(sections)


def _row(row: Row, part: _Part) -> str:
    name = MARKS[row.cells[0].mark].format(_named(row.cells[0]))
    if part.table.spans(row):
        cells = [_across(row.cells[1], part.width)]
    else:
        cells = list(map(_cell, row.cells[1:], part.intervals))
    return rf"{' & '.join([name, *cells])} \\"


def _name(row: Row) -> str:
    """A row's name and marks as LaTeX can set them; a long name loses its middle."""
    name = row.cells[0]
    return " ".join([shortened(settable(name.text)), *name.notes])


def _named(name: Cell) -> str:
    """A row's name with its citation, and its marks."""
    cited = rf"~\cite{{{name.citation}}}" if name.citation else ""
    text = _breakable(shortened(settable(name.text))) + cited
    notes = [rf"~{latex(note)}" if "†" in note or "‡" in note else f" {latex(note)}" for note in name.notes]
    return "".join([text, *notes])


def _cell(cell: Cell, interval: int | None) -> str:
    if cell.value is None or cell.beside:
        return _across(cell, _width(interval))
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


def _width(interval: int | None) -> int:
    return 1 if interval is None else 2


def _minus(text: str) -> str:
    """The text with minus signs in place of hyphens before digits."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _breakable(text: str) -> str:
    """The text, in which words too long for a line may break anywhere."""
    return re.sub(r" (?=\$\\d?dagger\$)", "~", " ".join(map(_word, settable(text).split())))


def _word(word: str) -> str:
    return latex(word) if len(word) < LONGEST_WORD else r"\allowbreak ".join(map(latex, word))
