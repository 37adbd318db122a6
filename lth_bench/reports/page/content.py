"""The content of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lth_bench.reports.analyses import ShownAnalysis
from lth_bench.reports.suites import SuiteText
from lth_bench.results.claims import Judged
from lth_bench.results.frame import Results
from lth_bench.results.leaderboard import Leaderboards, Place


@dataclass(frozen=True)
class AnalysisSection:
    """An analysis and its figures, each a caption and the text of an SVG."""

    shown: ShownAnalysis
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PageContent:
    """What a page shows.

    A figure has a caption, a kind, a leaderboard and the text of an SVG, in which groups with the id `method-N`
    belong to method N of the leaderboards, counted from 0 in the order of their rows. On a site, `home` is the way to
    its front page, methods have pages there, and records have pages beside this one.
    """

    results: Results
    leaderboards: Leaderboards
    verdicts: pd.DataFrame
    badges: pd.DataFrame
    figures: Sequence[tuple[str, str, Place, str]]
    suites: Sequence[SuiteText]
    analyses: Sequence[AnalysisSection] = ()
    claims: Sequence[Judged] = ()
    home: str = ""

    @property
    def files(self) -> list[SuiteText]:
        """The suites whose file the page shows."""
        return [suite for suite in self.suites if suite.text]
