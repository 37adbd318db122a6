"""The formats of tables, by the suffixes of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lth_bench.reports.formats import html, latex, markdown, separated
from lth_bench.reports.formats.venues import ARTICLE, Venue
from lth_bench.reports.table import Table

DOCUMENTS: dict[str, Callable[[Sequence[Table]], str]] = {
    "tex": latex.document,
    "md": markdown.document,
    "csv": separated.document,
    "html": html.document,
}


def document(tables: Sequence[Table], form: str, venue: Venue = ARTICLE, is_bare: bool = False) -> str:
    """Tables in a format; only LaTeX asks where they are printed, and whether they stand in floats of their own."""
    if form == "tex":
        return latex.document(tables, venue, is_bare)
    return DOCUMENTS[form]([replace(table, caption="") for table in tables] if is_bare else tables)
