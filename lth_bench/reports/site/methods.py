"""The pages of methods: where they come from, and all their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lth_bench.experiments.about import About
from lth_bench.reports import claims
from lth_bench.reports.leaderboards import lost
from lth_bench.reports.methods import bibtex
from lth_bench.reports.page import listings
from lth_bench.reports.page.listings import listed
from lth_bench.reports.site.boards import Board
from lth_bench.reports.site.sections import Section, SitePage
from lth_bench.reports.table import Column
from lth_bench.results.claims import Judged
from lth_bench.results.frame import rows_of

SHOWN = ("target", "sparsity", "accuracy", "n", "lost", "difference", "p", "rank", "training_ratio", "verdict")
RESULTS = [
    Column("method", "method", notes="marks"),
    Column("on", "board", link="link"),
    Column("of", "title", link="link"),
    Column("parameters", "parameters"),
    *(column for column in listings.DETAILS if column.name in SHOWN and column.group != "inference"),
]
CHECKS = [
    Column("method", "method"),
    Column("on", "board", link="link"),
    *(column for column in listings.BADGES if column.name not in ("method", "board")),
]


@dataclass(frozen=True)
class MethodEntry:
    """A pruner or control of the boards: its name, what it says of itself, and its rows of all boards."""

    kind: str
    name: str
    about: About
    rows: pd.DataFrame
    badges: pd.DataFrame
    claims: Sequence[Judged]
    experiments: int

    @property
    def place(self) -> str:
        return f"{self.kind}s/{self.name}.html"

    @property
    def title(self) -> str:
        return self.about.title or self.name

    def row(self, home: str) -> dict[str, Any]:
        """What the front page lists of it."""
        paper = self.about.paper
        return {
            "method": self.title,
            "nothing": (),
            "link": home + self.place,
            "family": self.about.family or self.kind,
            "paper": paper.cited if paper else "",
            "paper_link": paper.link if paper else "",
            "boards": self.rows["title"].nunique(),
            "experiments": self.experiments,
        }

    def page(self) -> SitePage:
        paper = self.about.paper
        facts = [("family", self.about.family or self.kind, ""), ("name in suites", self.name, "")]
        if paper:
            authors = paper.authors.replace(" and ", ", ")
            facts.append(("paper", f"{paper.title}. {authors}. {paper.venue} {paper.year}", paper.link))
        if paper and paper.code:
            facts.append(("official code", paper.code, paper.code))
        return SitePage(
            self.place,
            self.title,
            self.kind,
            [
                Section("", facts=facts),
                Section("Results", tables=[listed(f"Results of {self.title}", RESULTS, rows_of(self.rows))]),
                Section(
                    "Sanity checks",
                    ["A control takes the method’s ticket and changes one thing. Yes: the method is better than it."],
                    tables=[listed("Sanity checks", CHECKS, rows_of(self.badges))],
                )
                if len(self.badges)
                else Section(""),
                Section("Claims", tables=claims.tables(self.claims)),
                Section("BibTeX", blocks=[bibtex(paper)] if paper else []),
            ],
            path=[("lth-bench", "../index.html")],
        )


def entries(boards: Sequence[Board]) -> Iterator[MethodEntry]:
    """A page for every pruner and control of some boards, pruners first, by title."""
    rows = pd.concat([board.rows() for board in boards], ignore_index=True)
    badges = pd.concat([board.badges() for board in boards], ignore_index=True)
    frames = pd.concat([board.frame[["pruner", "control"]] for board in boards], ignore_index=True)
    rows = rows.assign(lost=[lost(row) for row in rows_of(rows)])
    found = []
    for kind in ("pruner", "control"):
        mine = rows[(rows["control"] == "") == (kind == "pruner")]
        for name, own in mine.groupby(kind):
            of = (frames["control"] == "") == (kind == "pruner")
            found.append(_entry(boards, kind, str(name), own, badges, int((of & (frames[kind] == name)).sum())))
    return iter(sorted(found, key=lambda one: (one.kind == "control", one.title.casefold())))


def _entry(
    boards: Sequence[Board], kind: str, name: str, rows: pd.DataFrame, badges: pd.DataFrame, experiments: int
) -> MethodEntry:
    choices = set(rows[f"{kind}_choice"])
    said = (board.report.results.methods.get(kind, {}).get(choice) for board in boards for choice in sorted(choices))
    about = next((one for one in said if one), About())
    labels = set(rows["method"])
    checked = badges[badges["method"].isin(labels)].rename(
        columns={"control": "changed", "lower": "difference_lower", "upper": "difference_upper"}
    )
    named = [one for board in boards for one in board.report.claims if labels & set(_labels(one))]
    parameters = [text.partition(" ")[2].strip("()") for text in rows[f"{kind}_choice"]]
    return MethodEntry(kind, name, about, rows.assign(parameters=parameters), checked, named, experiments)


def _labels(one: Judged) -> Iterator[str]:
    """The methods that a claim compares."""
    for side in one.claim.subjects.values():
        if method := getattr(side, "method", None):
            yield method
