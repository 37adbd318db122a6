"""What a site shows of a board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lth_bench.reports.report import Report, compare
from lth_bench.reports.suites import SuiteText, suite_texts
from lth_bench.results.frame import BLOCK, load
from lth_bench.results.verdicts import badges, verdicts
from lth_bench.storage.submission import Submission, read_submission
from lth_bench.storage.verified import How, confirmed

STATES: dict[How | None, str] = {
    None: "self-reported",
    "evaluated": "re-evaluated",
    "near": "re-run, within tolerance",
    "same": "re-run, the same bits",
}


@dataclass(frozen=True)
class Board:
    """A board: its folder, its report, who submitted it, and how its records were confirmed, by their key."""

    directory: Path
    report: Report
    suites: list[SuiteText]
    submission: Submission | None
    confirmed: dict[str, How]

    @property
    def name(self) -> str:
        return self.directory.resolve().name

    @property
    def title(self) -> str:
        return ", ".join(suite.title for suite in self.suites)

    @property
    def home(self) -> str:
        """The address of its page, from the front page."""
        return f"boards/{self.name}/report.html"

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each experiment."""
        return self.report.results.frame

    def state(self, key: str) -> str:
        """How a record was confirmed, in words."""
        return STATES[self.confirmed.get(key)]

    def rows(self) -> pd.DataFrame:
        """A row for every method and target, with its verdict, its relative costs and the name of its leaderboard."""
        boards = self.report.leaderboards
        verdict = verdicts(boards)[[*BLOCK, "method", "target", "verdict"]]
        rows = boards.rows.assign(**boards.relative_costs())
        rows = rows.merge(verdict, on=[*BLOCK, "method", "target"], how="left").fillna({"verdict": ""})
        return self._placed(rows)

    def badges(self) -> pd.DataFrame:
        """What controls say of methods, with the link to this board."""
        return self._placed(badges(self.report.leaderboards))

    def _placed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with the names of their leaderboards, and the title and address of the board."""
        names = self.report.leaderboards.names()
        titles = [names[(dataset, model, recipe)] for dataset, model, recipe in rows[BLOCK].itertuples(index=False)]
        return rows.assign(board=titles, title=self.title, link=f"../{self.home}")


def read_board(directory: Path) -> Board:
    """Raises FileFault for a folder without records."""
    results = load(directory)
    return Board(directory, compare(results), suite_texts(results), read_submission(directory), confirmed(directory))
