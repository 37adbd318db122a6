"""Tables for papers as LaTeX, Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable

from lth_bench.reports import escaping
from lth_bench.reports.paper.cells import Cell, PaperTable, Row
from lth_bench.reports.paper.pagination import Page, head_lines, pages, shortened, width

FLOATS = 30  # tables between page breaks: LaTeX keeps no more than 52 until it has a page for them
HYPHENATED = 20  # characters of a word
PREAMBLE = r"% In the preamble: \usepackage{booktabs}; no other package is needed."


def rendered(tables: list[PaperTable], form: str) -> str:
    """Tables in one of the formats `FORMATS`, as a file that can be used as it is."""
    return FORMATS[form](tables)


def _latex(tables: list[PaperTable]) -> str:
    parts = [_latex_page(page, number) for table in tables for number, page in enumerate(pages(table))]
    groups = ["\n".join(parts[start : start + FLOATS]) for start in range(0, len(parts), FLOATS)]
    return f"{PREAMBLE}\n" + "\n\\clearpage\n".join(groups)


def _latex_page(page: Page, number: int) -> str:
    """A floating table; the second and later pages of one refer to the first."""
    title, caption = escaping.latex(page.table.title), escaping.latex(page.table.caption)
    label = f"tab:{page.table.label}"
    first = f"\\caption[{{{title}}}]{{{caption}}}\n\\label{{{label}}}"
    lines = [
        r"\begin{table}",
        r"\centering",
        f"Table~\\ref{{{label}}}, continued\\par" if number else first,
        rf"\smallskip{page.style.command}\setlength{{\tabcolsep}}{{{page.style.separation:g}pt}}",
        *_tabular(page),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(page: Page) -> list[str]:
    name = "l" if page.room is None else f"p{{{page.room:.0f}pt}}"
    columns = "".join("r" if spread is None else "r@{}l" for spread in page.spreads)
    head = [_latex_head(page.table.header[0], "l"), *map(_latex_heads, page.table.header[1:], page.spreads)]
    sections = ["\n".join(_latex_row(row, page) for row in section) for section in page.table.sections]
    return [
        rf"\begin{{tabular}}{{@{{}}{name}{columns}@{{}}}}",
        r"\toprule",
        rf"{' & '.join(head)} \\",
        r"\midrule",
        "\n\\midrule\n".join(sections),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _latex_heads(text: str, spread: int | None) -> str:
    """The head of a column, or of the two that it consists of."""
    return _latex_head(text, "r") if spread is None else rf"\multicolumn{{2}}{{c}}{{{_latex_head(text, 'c')}}}"


def _latex_head(text: str, side: str) -> str:
    lines = [escaping.latex(line) for line in head_lines(text)]
    joined = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{joined}\end{{tabular}}" if len(lines) > 1 else joined


def _latex_row(row: Row, page: Page) -> str:
    if page.table.spans(row):
        cells = [_latex_across(row[1], sum(1 if spread is None else 2 for spread in page.spreads))]
    else:
        cells = list(map(_latex_cell, row[1:], page.spreads))
    return rf"{' & '.join([_latex_name(row[0], page), *cells])} \\"


def _latex_cell(cell: Cell, spread: int | None) -> str:
    if not cell.is_number:
        return _latex_across(cell, 1 if spread is None else 2)
    return _latex_text(cell) if spread is None else f"{_latex_text(cell)} & {_latex_behind(cell, spread)}"


def _latex_across(cell: Cell, columns: int) -> str:
    return rf"\multicolumn{{{columns}}}{{c}}{{{_latex_text(cell)}{_latex_behind(cell, 0)}}}"


def _latex_text(cell: Cell) -> str:
    return _marked(cell, escaping.latex, r"\textbf{{{}}}", r"\textit{{{}}}")


def _latex_behind(cell: Cell, spread: int) -> str:
    """The interval, as wide as others of its column, and the note."""
    digits = "0" * (spread - len(cell.spread))
    phantom = rf"\phantom{{{digits}}}" if digits else ""
    interval = rf"$\,\pm\,${phantom}{cell.spread.removeprefix('± ')}" if cell.spread else ""
    return interval + (rf"\,{{\scriptsize({escaping.latex(cell.note)})}}" if cell.note else "")


def _latex_name(cell: Cell, page: Page) -> str:
    name = shortened(cell.text)
    if page.room is None:
        return _latex_text(dataclasses.replace(cell, text=name))
    words = " ".join(_breakable(word, page.room / page.style.em) for word in name.split())
    words = re.sub(r" (?=\$\\d?dagger\$)", "~", words)
    return r"\raggedright\hangindent=1em\hspace{0pt}" + (rf"\textit{{{words}}}" if cell.italic else words)


def _breakable(word: str, room: float) -> str:
    """A word that may be broken anywhere if a line of so many em cannot hold it and TeX would not hyphenate it."""
    if 1.1 * width(word) < room - 1 or (word.isascii() and word.isalpha() and len(word) < HYPHENATED):
        return escaping.latex(word)
    return r"\allowbreak ".join(map(escaping.latex, word))


def _markdown(tables: list[PaperTable]) -> str:
    return "\n".join(f"{escaping.markdown(table.caption)}\n\n{_markdown_table(table)}" for table in tables)


def _markdown_table(table: PaperTable) -> str:
    head = [escaping.markdown(text) for text in table.header]
    sides = [":--", *["--:"] * (len(head) - 1)]
    lines = [head, sides, *([_markdown_cell(cell) for cell in row] for row in _unspanned(table))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown_cell(cell: Cell) -> str:
    return _whole(cell, _marked(cell, escaping.markdown, "**{}**", "*{}*"))


def _marked(cell: Cell, escape: Callable[[str], str], bold: str, italic: str) -> str:
    """The text of a cell in the format that it calls for, of two."""
    text = escape(cell.text)
    form = bold if cell.bold else italic if cell.italic else "{}"
    return form.format(text) if text else ""


def _whole(cell: Cell, text: str) -> str:
    """The text of a cell, as it is set, with what stands behind it."""
    return " ".join(filter(None, (text, cell.spread, f"({cell.note})" if cell.note else "")))


def _unspanned(table: PaperTable) -> list[Row]:
    """Rows in which spanning cells are repeated."""
    return [row[:1] + row[1:] * (len(table.header) - 1) if table.spans(row) else row for row in table.rows]


def _html(tables: list[PaperTable]) -> str:
    return "\n".join(map(_html_table, tables))


def _html_table(table: PaperTable) -> str:
    header = "".join(f'<th scope="col">{escaping.html(text)}</th>' for text in table.header)
    bodies = (f"<tbody>\n{''.join(_html_row(row, table) for row in rows)}</tbody>" for rows in table.sections)
    caption = f"<caption>{escaping.html(table.caption)}</caption>"
    head = f'<table id="tab-{table.label}">\n{caption}\n<thead>\n<tr>{header}</tr>\n</thead>'
    return "\n".join([head, *bodies, "</table>\n"])


def _html_row(row: Row, table: PaperTable) -> str:
    name, *texts = (_whole(cell, _marked(cell, escaping.html, "<b>{}</b>", "<i>{}</i>")) for cell in row)
    spans = f'colspan="{len(table.header) - 1}" style="text-align: center"'
    side = spans if table.spans(row) else 'style="text-align: right"'
    cells = "".join(f"<td {side}>{text}</td>" for text in texts)
    return f'<tr><th scope="row" style="text-align: left">{name}</th>{cells}</tr>\n'


def _csv(tables: list[PaperTable]) -> str:
    """Tables with a line of their header, their rows and their caption; numbers are alone in their cells."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for number, table in enumerate(tables):
        writer.writerows([[]] * (number > 0))
        columns = zip(table.header, *_unspanned(table), strict=True)
        writer.writerows(zip(*(part for column in columns for part in _csv_columns(*column)), strict=True))
        writer.writerow([escaping.csv(table.caption)])
    return file.getvalue()


def _csv_columns(header: str, *cells: Cell) -> list[list[str]]:
    """A column, and columns for what stands behind its numbers."""
    behind = {
        "±": [cell.spread.removeprefix("± ") for cell in cells],
        "best": ["best" * cell.bold for cell in cells],
        "note": [escaping.csv(cell.note) for cell in cells],
    }
    columns = [[escaping.csv(header), *map(_csv_text, cells)]]
    return columns + [[escaping.csv(f"{header} {name}"), *texts] for name, texts in behind.items() if any(texts)]


def _csv_text(cell: Cell) -> str:
    return cell.text.replace(",", "").replace("−", "-") if cell.is_number else escaping.csv(cell.text)


FORMATS: dict[str, Callable[[list[PaperTable]], str]] = {
    "tex": _latex,
    "md": _markdown,
    "csv": _csv,
    "html": _html,
}
