"""The files of a report: tables, figures, report.md and report.html."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lth_bench.reports import prose
from lth_bench.reports.leaderboards import FORMATS, formatted
from lth_bench.reports.suites import suite_texts
from lth_bench.results.frame import Results
from lth_bench.results.leaderboard import Leaderboards, summarise
from lth_bench.results.overlap import matrices, overlaps, write_overlaps
from lth_bench.results.verdicts import badges, verdicts
from lth_bench.storage.files import publish


@dataclass(frozen=True)
class Report:
    """Results, their leaderboards, and the overlaps of their masks."""

    results: Results
    leaderboards: Leaderboards
    overlaps: pd.DataFrame


def compare(results: Results, equivalence: float = 0.0) -> Report:
    """Compares results; differences of `equivalence` points to the best do not count.

    Raises FileFault for tickets that do not belong to their records.
    """
    return Report(results, summarise(results.frame, equivalence), overlaps(results))


def write_tables(report: Report, folder: Path) -> list[Path]:
    """Writes the leaderboards in every format, and the overlaps of masks if there are any; returns the paths."""
    paths = [folder / f"leaderboard.{kind}" for kind in FORMATS]
    for path, kind in zip(paths, FORMATS, strict=True):
        publish(path, formatted(report.leaderboards, kind).encode())
    return [*paths, *write_overlaps(report.overlaps, folder)]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes report.md, report.html and the figures; returns the paths, those of the figures as PNG."""
    from lth_bench.reports.figures.pictures import pictures, save_all
    from lth_bench.reports.page.content import PageContent
    from lth_bench.reports.page.render import page

    results, leaderboards, suites = report.results, report.leaderboards, suite_texts(report.results)
    drawn = pictures(results, leaderboards, matrices(report.overlaps))
    files = save_all(drawn, folder)
    text = folder / "report.md"
    captions = [(picture.stem, picture.caption) for picture in drawn]
    publish(text, prose.report(results, leaderboards, suites, captions).encode())
    figures = [
        (picture.caption, picture.kind, picture.block, (folder / f"{picture.stem}.svg").read_text(encoding="utf-8"))
        for picture in drawn
    ]
    content = PageContent(results, leaderboards, verdicts(leaderboards), badges(leaderboards), figures, suites)
    publish(folder / "report.html", page(content).encode())
    return [text, folder / "report.html", *(paths[0] for paths in files)]


def written(directory: Path) -> list[Path]:
    """The paths of tables, report and figures if the page, which is written last, is younger than the records."""
    tables, folder = [directory / f"leaderboard.{kind}" for kind in FORMATS], directory / "report"
    texts, figures = [folder / "report.md", folder / "report.html"], sorted(folder.glob("*.png"))
    if not all(path.exists() for path in (*tables, *texts)):
        return []
    sources = [
        directory / "plan.json",
        directory / "suites",
        directory / "records",
        *(directory / "records").glob("*.json"),
        *(directory / "latency").glob("*.json"),
    ]
    newest = max(path.stat().st_mtime for path in sources if path.exists())
    return [*tables, *texts, *figures] if texts[-1].stat().st_mtime > newest else []
