"""The parts of a page of a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lth_bench.reports.page.render import rendered
from lth_bench.reports.table import Table
from lth_bench.storage.files import publish

Fact = tuple[str, str, str]  # a name, a value and the address that it leads to, or ""


@dataclass(frozen=True)
class Section:
    """Texts, facts, preformatted blocks and tables under a title; an empty title has no heading."""

    title: str
    texts: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    blocks: Sequence[str] = ()
    tables: Sequence[Table] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.texts or self.facts or self.blocks or any(table.rows for table in self.tables))


@dataclass(frozen=True)
class SitePage:
    """A page: its place on the site, such as "methods/imp.html", and what it shows.

    `path` are names and addresses of the pages above it, and `counts` numbers in large print.
    """

    place: str
    title: str
    kicker: str
    sections: Sequence[Section]
    ledes: Sequence[str] = ()
    path: Sequence[tuple[str, str]] = ()
    counts: Sequence[tuple[str, int]] = ()

    @property
    def home(self) -> str:
        """The way to the front page."""
        return "../" * self.place.count("/")

    def write(self, out: Path) -> Path:
        """Writes the page below a folder; returns its path."""
        shown = [section for section in self.sections if not section.is_empty]
        parts: dict[str, Any] = {"sections": shown, "contents": len(shown) > 2, "home": self.home}
        fields = {name: getattr(self, name) for name in ("title", "kicker", "ledes", "path", "counts")}
        publish(out / self.place, rendered("site.html", **parts, **fields).encode())
        return out / self.place
