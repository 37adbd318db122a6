"""`lth-bench leaderboard` and `lth-bench report`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lth_bench.cli.arguments import AllRevisions, Equivalence, RunDirectories
from lth_bench.cli.terminal import finish, out, print_paths, refuse


class Format(StrEnum):
    md = "md"
    csv = "csv"
    json = "json"
    tex = "tex"
    html = "html"


def leaderboard(
    directories: RunDirectories,
    format: Annotated[Format | None, typer.Option(help="Print the table in this format instead.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Order methods by a sparsity such as 90%, by method, or by a column of the CSV, such as area or "
            "training_flops; -COLUMN turns it round.",
        ),
    ] = None,
    equivalence: Equivalence = 0.0,
    all_revisions: AllRevisions = False,
) -> None:
    """Print the leaderboard of a run directory, or of several comparable ones."""
    from lth_bench.cli.display import print_leaderboard, print_superseded
    from lth_bench.reports.leaderboards import formatted
    from lth_bench.results.leaderboard import summarise
    from lth_bench.results.merging import load_all
    from lth_bench.results.ordering import arranged

    results = load_all(directories, all_revisions)
    print_superseded(results)
    leaderboards = summarise(results.frame, equivalence)
    try:
        leaderboards = arranged(leaderboards, sort) if sort else leaderboards
    except LookupError as error:
        refuse([f"--sort: {error.args[0]}"])
    if format is None:
        print_leaderboard(out, leaderboards)
    else:
        sys.stdout.write(formatted(leaderboards, format.value))
    finish(results)


def report(
    directories: RunDirectories,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; by default DIR/report.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write the tables; by default the run directory."),
    ] = None,
    equivalence: Equivalence = 0.0,
    all_revisions: AllRevisions = False,
) -> None:
    """Write the tables, the figures, a Markdown report and a page of a run directory, or of several."""
    from lth_bench.cli.display import print_superseded
    from lth_bench.reports.report import compare, write_report, write_tables
    from lth_bench.results.merging import load_all

    if len(directories) > 1 and folder is None:
        refuse(["of several run directories, --out says where to write"])
    compared = compare(load_all(directories, all_revisions), equivalence)
    print_superseded(compared.results)
    beside = folder if folder and len(directories) > 1 else directories[0]
    print_paths(
        [*write_tables(compared, tables or beside), *write_report(compared, folder or directories[0] / "report")]
    )
    finish(compared.results)
