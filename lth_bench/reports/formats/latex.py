"""Tables as LaTeX: floats that are never wider than the text, and long ones that break across pages."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from lth_bench.reports.escaping import plain, slug
from lth_bench.reports.formats.fitting import LEADING, Part, ems, long_parts, parts, pieces
from lth_bench.reports.formats.tabular import body, breakable, head, rows
from lth_bench.reports.formats.venues import ARTICLE, Venue
from lth_bench.reports.table import Table

PREAMBLE = r"""%% In the preamble: \usepackage{booktabs,graphicx,longtable}
%% Made for text that is %.0fpt wide; narrower text shrinks it.
"""
FLOATS = 30  # between page breaks: LaTeX keeps no more than 52 until it has a page for them
SAME_NUMBER = r"\addtocounter{table}{-1}"
CAPTION_SIZE, CAPTION_MARGIN = 10.0, 30.0  # points of the text of captions, and of the room around them
COMMENT = 110  # characters of a line
TABLE_SEP = 0.4  # sizes of text on each side of a column
STRETCH = r"\setlength{\emergencystretch}{3em}"  # so that lines of narrow captions are not too long


def document(tables: Sequence[Table], venue: Venue = ARTICLE, is_bare: bool = False) -> str:
    r"""Tables one after the other, as a file for `\input`; bare ones have no caption and stand in no float."""
    texts = [_bare(table, venue) if is_bare else _table(table, venue) for table in tables]
    groups = ["\n\n".join(texts[start : start + FLOATS]) for start in range(0, len(texts), FLOATS)]
    return PREAMBLE % venue.width + "\n\n\\clearpage\n\n".join(groups) + "\n"


def _table(table: Table, venue: Venue) -> str:
    """A float if a page has room for it, else several, or a table that breaks across pages."""
    whole, caption = parts(table, venue), _caption_height(table, venue)
    if caption + sum(part.height for part in whole) <= venue.height:
        return _float(whole, venue, _caption(table))
    if venue.has_two_columns:
        return "\n\n".join(_floats(table, whole, venue, caption))
    first, *others = long_parts(table, venue)
    further = [f"{_longtable(part, _again(part))}\n{SAME_NUMBER}" for part in others]
    return "\n".join([_longtable(first, _caption(table)), *further])


def _bare(table: Table, venue: Venue) -> str:
    """The rows alone, to stand in a float; rows that no page has room for break across pages."""
    whole = parts(table, venue)
    comment = textwrap.wrap(plain(_caption_text(table)), COMMENT, initial_indent="% ", subsequent_indent="% ")
    if sum(part.height for part in whole) <= venue.height:
        return "\n".join([*comment, r"\begingroup", *_sized(whole), r"\endgroup"])
    if not venue.has_two_columns:
        return "\n".join([*comment, *(_longtable(part, "") for part in long_parts(table, venue))])
    room = venue.height - CAPTION_MARGIN
    broken = [piece for part in whole for piece in pieces(part, room, room)]
    return "\n\n".join("\n".join([*comment, r"\begingroup", *_sized([piece]), r"\endgroup"]) for piece in broken)


def _floats(table: Table, whole: Sequence[Part], venue: Venue, caption: float) -> list[str]:
    """Floats one after the other, each with the rows that a page has room for."""
    room = venue.height - CAPTION_MARGIN
    broken = [piece for number, part in enumerate(whole) for piece in pieces(part, room - caption * (not number), room)]
    above = [_caption(table), *[rf"\makebox[\linewidth][l]{{{_continued(table)}}}"] * (len(broken) - 1)]
    return [_float([piece], venue, line) for piece, line in zip(broken, above, strict=True)]


def _float(shown: Sequence[Part], venue: Venue, above: str) -> str:
    """A float with parts below each other."""
    name = "table*" if venue.is_starred else "table"
    lines = [
        rf"\begin{{{name}}}[tp]",
        rf"\centering{STRETCH}",
        above,
        r"\par\smallskip",
        *_sized(shown),
        rf"\end{{{name}}}",
    ]
    return "\n".join(lines)


def _sized(shown: Sequence[Part]) -> list[str]:
    """Parts below each other, at one scale: their size, or smaller where the text is narrower than expected."""
    tabulars = ["\n".join([rf"\begin{{tabular}}{{{_columns(p)}}}", *body(p), r"\end{tabular}"]) for p in shown]
    stacked = "\\\\\\noalign{\\bigskip}\n".join(tabulars)
    whole = f"\\begin{{tabular}}{{@{{}}l@{{}}}}\n{stacked}\n\\end{{tabular}}" if len(shown) > 1 else stacked
    return [
        _size(shown[0]),
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"{whole}}}",
    ]


def _longtable(part: Part, above: str) -> str:
    """A part that breaks across pages, with a line above it."""
    heads = "\n".join(head(part))
    lines = [
        rf"\begingroup{_size(part)}\setlength{{\LTcapwidth}}{{\linewidth}}{STRETCH}",
        rf"\begin{{longtable}}{{{_columns(part)}}}",
        rf"{above}\\" if above else "",
        heads,
        r"\endfirsthead",
        rf"{_again(part)}\\" if above else "",
        heads,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        rows(part),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join(filter(None, lines))


def _size(part: Part) -> str:
    text = rf"\fontsize{{{part.size:g}}}{{{LEADING * part.size:g}}}\selectfont"
    return rf"{text}\setlength{{\tabcolsep}}{{{TABLE_SEP * part.size:g}pt}}"


def _columns(part: Part) -> str:
    name = "l" if part.names is None else f"p{{{part.names:.0f}pt}}"
    return "".join(["@{}", name, *("r" if interval is None else "r@{}l" for interval in part.intervals), "@{}"])


def _again(part: Part) -> str:
    """The line above later pages and parts of a long table."""
    return rf"\multicolumn{{{part.width + 1}}}{{@{{}}l}}{{{_continued(part.table)}}}"


def _continued(table: Table) -> str:
    return rf"Table~\ref{{{_label(table)}}}, continued"


def _caption(table: Table) -> str:
    title = breakable(table.title)
    whole = breakable(_caption_text(table))
    return f"\\caption[{{{title}}}]{{{whole}}}\\label{{{_label(table)}}}"


def _caption_text(table: Table) -> str:
    return f"{table.title}. {table.caption}".rstrip()


def _caption_height(table: Table, venue: Venue) -> float:
    lines = ems(_caption_text(table)) * CAPTION_SIZE / venue.width + 1
    return lines * LEADING * CAPTION_SIZE + CAPTION_MARGIN


def _label(table: Table) -> str:
    return f"tab:{table.label or slug(table.title)}"
