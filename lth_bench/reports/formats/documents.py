"""The formats of tables, by the suffixes of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lth_bench.reports.formats import html, latex, markdown, separated
from lth_bench.reports.table import Table

DOCUMENTS: dict[str, Callable[[Sequence[Table]], str]] = {
    "tex": latex.document,
    "md": markdown.document,
    "csv": separated.document,
    "html": html.document,
}
