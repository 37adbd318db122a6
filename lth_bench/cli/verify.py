"""`lth-bench verify`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lth_bench.cli.arguments import DataRoot, RunDirectories
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import out, refuse, say


def verify(
    directories: RunDirectories,
    data: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON, by directory.")] = False,
) -> None:
    """Check that the plan, records and tables of run directories agree with each other; a line for each fault.

    Nothing is trained: that a number is what a training gives, only another run shows. The exit status is 1 if there
    are faults.
    """
    from lth_bench.errors import FileFault
    from lth_bench.results.verification import faults_of

    found: dict[str, list[str]] = {}
    nothing: list[str] = []
    for directory in directories:
        plugins = installed_plugins(directory=directory)
        try:
            found[str(directory)] = faults_of(directory, plugins, data) or _other_tables(directory)
        except FileFault as error:
            nothing.append(str(error))
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        for fault in (fault for faults in found.values() for fault in faults):
            say(out, fault)
        for name in (name for name, faults in found.items() if not faults):
            say(out, f"{name}: plan, records and tables agree")
    if nothing:
        refuse(nothing)
    if any(found.values()):
        raise typer.Exit(1)


def _other_tables(directory: Path) -> list[str]:
    """The leaderboards beside the records that are not those of the records."""
    from lth_bench.reports.leaderboards import FORMATS, formatted
    from lth_bench.results.frame import load
    from lth_bench.results.leaderboard import summarise

    there = {path: kind for kind in FORMATS if (path := directory / f"leaderboard.{kind}").exists()}
    if not there:
        return []
    boards = summarise(load(directory).frame)
    return [
        f"{path} is not the table that lth-bench report writes of these records"
        for path, kind in there.items()
        if path.read_bytes() != formatted(boards, kind).encode()
    ]
