"""`lth-bench submit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from lth_bench.cli.arguments import DataRoot, RunDirectory
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import err, out, refuse, say
from lth_bench.cli.verify import evaluated, faults_with_tables

if TYPE_CHECKING:
    from lth_bench.storage.record import Record


def submit(
    directory: RunDirectory,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder of all boards, such as leaderboards.")],
    author: Annotated[str, typer.Option(metavar="NAME", help="Who answers for the results.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The board's name; by default that of the run directory.")
    ] = None,
    paper: Annotated[str, typer.Option(metavar="TEXT", help="Of which paper, such as arXiv:1803.03635.")] = "",
    source: Annotated[str, typer.Option(metavar="URL", help="Where the code of methods of your own is.")] = "",
    data: DataRoot = None,
) -> None:
    """Make a board of a complete run directory, verified, with its tables, ready to be published.

    Tickets, which are not published, are evaluated again. The exit status is 1 if there is a fault.
    """
    from lth_bench import __version__
    from lth_bench.reports.report import compare, write_tables
    from lth_bench.results.frame import load
    from lth_bench.results.verification import faults_of
    from lth_bench.storage.records import read_records
    from lth_bench.storage.submission import Submission, copy_board, write_submission

    board = to / (name or directory.resolve().name)
    if board.resolve() == directory.resolve():
        refuse([f"{board} is the run directory itself; choose another --to or --name"])
    plugins = installed_plugins(directory=directory)
    faults = faults_of(directory, plugins, data) or list(_failures(read_records(directory)))
    if not faults and (directory / "tickets").is_dir():
        faults, _ = evaluated(directory, plugins, data)
    if not faults:
        copied = copy_board(directory, board)
        write_submission(board, Submission(1, author, __version__, paper, source))
        tables = write_tables(compare(load(directory)), board)
        faults = faults_with_tables(board, plugins, data)
    for fault in faults:
        say(err, fault, "red")
    if faults:
        raise typer.Exit(1)
    size = decimal(sum(path.stat().st_size for path in (*copied, *tables)))
    say(out, f"{board}: {len(copied) + len(tables) + 1} files, {size}; plan, records and tables agree")


def _failures(records: list[Record]) -> list[str]:
    """The experiments that have no result: a board shows divergence, which is one, but no errors."""
    from lth_bench.results.verification import described

    return [f"{described(one)} failed: {one.error.words}" for one in records if one.status == "failed" and one.error]
