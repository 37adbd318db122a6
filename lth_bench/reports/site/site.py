"""Builds the site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lth_bench.reports.methods import bibtex
from lth_bench.reports.page.render import sources
from lth_bench.reports.report import write_report, write_tables
from lth_bench.reports.site.boards import Board, read_board
from lth_bench.reports.site.front import front
from lth_bench.reports.site.methods import entries
from lth_bench.reports.site.records import record_pages
from lth_bench.reports.site.sections import SitePage
from lth_bench.results.leaderboard import summarise
from lth_bench.results.merging import load_all
from lth_bench.storage.files import publish
from lth_bench.storage.submission import published_files


def write_site(directories: Sequence[Path], out: Path) -> Iterator[Path]:
    """Writes the site of some boards; yields the paths of pages as they are written, the front page last.

    Raises FileFault for a folder without records and for boards that contradict each other, and DiskFault.
    """
    together = summarise(load_all(list(directories), stand_apart=True).frame)
    boards = [read_board(directory) for directory in directories]
    for name, text in sources().items():
        publish(out / f"page.{name}", text.encode())
    for board in boards:
        yield from _write_board(board, out / "boards" / board.name)
        yield from _written(record_pages(board), out)
    methods = list(entries(boards))
    yield from _written((one.page() for one in methods), out)
    papers = {one.about.paper.key: one.about.paper for one in methods if one.about.paper}
    publish(out / "papers.bib", "".join(f"{bibtex(papers[key])}\n\n" for key in sorted(papers)).encode())
    yield front(boards, methods, together).write(out)


def _written(pages: Iterator[SitePage], out: Path) -> Iterator[Path]:
    return (page.write(out) for page in pages)


def _write_board(board: Board, folder: Path) -> Iterator[Path]:
    """The page of a board, with its figures, tables and everything that was published of it."""
    for path in published_files(board.directory):
        publish(folder / path, (board.directory / path).read_bytes())
    write_tables(board.report, folder)
    yield from (path for path in write_report(board.report, folder, "../../") if path.suffix == ".html")
