"""The front page: all boards, the score over them, all methods, and what became of claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from lth_bench.reports.averages import sentences
from lth_bench.reports.numbers import count
from lth_bench.reports.page import listings
from lth_bench.reports.page.listings import listed
from lth_bench.reports.site.boards import Board
from lth_bench.reports.site.methods import MethodEntry
from lth_bench.reports.site.sections import Section, SitePage
from lth_bench.reports.table import Column
from lth_bench.results.averages import averaged
from lth_bench.results.claims import Verdict
from lth_bench.results.frame import rows_of
from lth_bench.results.leaderboard import Leaderboards
from lth_bench.results.ordering import overall

BOARDS = [
    Column("board", "method", notes="nothing", link="link"),
    Column("data", "datasets"),
    Column("models", "models"),
    Column("methods", "methods", count),
    Column("seeds", "seeds", count, "The most that an experiment has."),
    Column("experiments", "experiments", count),
    Column("claims", "claims", None, "Shown, contradicted and not told."),
    Column("submitted by", "author"),
    Column("confirmed", "confirmed", None, "Records that somebody else has evaluated or run again."),
]
METHODS = [
    Column("method", "method", notes="nothing", link="link"),
    Column("family", "family"),
    Column("paper", "paper", link="paper_link"),
    Column("boards", "boards", count),
    Column("experiments", "experiments", count),
]
LEDE = (
    "Methods that prune neural networks, compared on the same models, data and training recipes, seed by seed. Every "
    "number is made from a record that states how it was measured, and every record can be verified and run again."
)


def front(boards: Sequence[Board], methods: Sequence[MethodEntry], leaderboards: Leaderboards) -> SitePage:
    """The front page; `leaderboards` are those of all boards together."""
    verdicts = Counter(str(one.verdict) for board in boards for one in board.report.claims)
    counts = [
        ("boards", len(boards)),
        ("methods", len([one for one in methods if one.kind == "pruner"])),
        ("experiments", sum(len(board.frame) for board in boards)),
        *((f"claims {verdict}", verdicts[verdict]) for verdict in get_args(Verdict) if verdicts[verdict]),
    ]
    averages = averaged(leaderboards)
    standing = listed("Over all boards", listings.STANDING, rows_of(overall(leaderboards, averages)))
    return SitePage(
        "index.html",
        "Leaderboards of pruning",
        "lth-bench: pruning methods, compared",
        [
            Section("Boards", tables=[listed("Boards", BOARDS, [_row(board) for board in boards])]),
            Section("Over all boards", list(sentences(averages, leaderboards.names())), tables=[standing]),
            Section(
                "Methods",
                facts=[("papers", "all in BibTeX", "papers.bib")],
                tables=[listed("Methods", METHODS, [one.row("") for one in methods])],
            ),
        ],
        [LEDE],
        counts=counts,
    )


def _row(board: Board) -> dict[str, Any]:
    frame = board.frame
    verdicts = Counter(str(one.verdict) for one in board.report.claims)
    return {
        "method": board.title,
        "nothing": (),
        "link": board.home,
        "datasets": ", ".join(sorted(set(frame["dataset"]))),
        "models": ", ".join(sorted(set(frame["model"]))),
        "methods": frame.loc[(frame["control"] == "") & ~frame["helper"], "method"].nunique(),
        "seeds": frame["seed"].nunique(),
        "experiments": len(frame),
        "claims": " · ".join(str(verdicts[verdict]) for verdict in get_args(Verdict)) if verdicts else "",
        "author": board.submission.author if board.submission else "lth-bench",
        "confirmed": f"{len(board.confirmed)} of {len(frame)}" if board.confirmed else "",
    }
