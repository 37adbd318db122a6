"""The files of a report: tables, figures, report.md and report.html."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lth_bench.reports import claims, prose
from lth_bench.reports.analyses import ShownAnalysis, sections, shown
from lth_bench.reports.leaderboards import FORMATS, formatted
from lth_bench.reports.suites import suite_texts
from lth_bench.results.analyses import analyses
from lth_bench.results.claims import Judged
from lth_bench.results.frame import Results
from lth_bench.results.leaderboard import Leaderboards, summarise
from lth_bench.results.overlap import matrices, overlaps, write_overlaps
from lth_bench.results.verdicts import badges, verdicts
from lth_bench.storage.files import publish


@dataclass(frozen=True)
class Report:
    """Results, their leaderboards, the overlaps of their masks, what analyses found, and what became of claims."""

    results: Results
    leaderboards: Leaderboards
    overlaps: pd.DataFrame
    analyses: list[ShownAnalysis]
    claims: list[Judged]


def compare(results: Results, equivalence: float = 0.0) -> Report:
    """Compares results; differences of `equivalence` points to the best do not count.

    Raises FileFault for tickets that do not belong to their records.
    """
    boards, found = summarise(results.frame, equivalence), analyses(results)
    return Report(results, boards, overlaps(results), shown(found), claims.judgements(results, found))


def write_tables(report: Report, folder: Path) -> list[Path]:
    """Writes the leaderboards in every format, and the overlaps of masks if there are any; returns the paths."""
    paths = [folder / f"leaderboard.{kind}" for kind in FORMATS]
    for path, kind in zip(paths, FORMATS, strict=True):
        publish(path, formatted(report.leaderboards, kind).encode())
    return [*paths, *write_overlaps(report.overlaps, folder)]


def write_report(report: Report, folder: Path, home: str = "") -> list[Path]:
    """Writes report.md, report.html and the figures; returns the paths, those of the figures as PNG.

    On a site, `home` is the way to its front page.
    """
    from lth_bench.reports.figures.analysed import pictures_of
    from lth_bench.reports.figures.pictures import pictures, save_all
    from lth_bench.reports.page.content import AnalysisSection, PageContent
    from lth_bench.reports.page.render import page

    results, leaderboards, suites = report.results, report.leaderboards, suite_texts(report.results)
    boards = pictures(results, leaderboards, matrices(report.overlaps))
    analysed = pictures_of(report.analyses, leaderboards)
    drawn = [*boards, *(picture for found in analysed.values() for picture in found)]
    files = save_all(drawn, folder)
    text = folder / "report.md"
    captions = [(picture.stem, picture.caption) for picture in boards]
    found = sections(
        report.analyses, {name: [(one.stem, one.caption) for one in those] for name, those in analysed.items()}
    )
    publish(
        text, prose.report(results, leaderboards, suites, captions, [*claims.section(report.claims), *found]).encode()
    )
    svg = {picture.stem: (folder / f"{picture.stem}.svg").read_text(encoding="utf-8") for picture in drawn}
    figures = [(picture.caption, picture.kind, picture.block, svg[picture.stem]) for picture in boards]
    shown_sections = [
        AnalysisSection(one, [(picture.caption, svg[picture.stem]) for picture in analysed[one.analysis.label]])
        for one in report.analyses
    ]
    content = PageContent(
        results,
        leaderboards,
        verdicts(leaderboards),
        badges(leaderboards),
        figures,
        suites,
        shown_sections,
        report.claims,
        home,
    )
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
        *(directory / "analyses").glob("*/records/*.json"),
    ]
    newest = max(path.stat().st_mtime for path in sources if path.exists())
    return [*tables, *texts, *figures] if texts[-1].stat().st_mtime > newest else []
