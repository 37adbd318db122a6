"""Where commands print, and how they end on unusable input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

if TYPE_CHECKING:
    from lth_bench.results.frame import Results

PLAIN_WIDTH = 140  # characters of tables in a file or a pipe
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, highlight=False, emoji=False)


class Refused(SystemExit):
    """The end of a program whose input cannot be used; `faults` has a sentence for each reason, which is printed."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(2)
        self.faults = faults


@contextmanager
def silence() -> Iterator[None]:
    """Inside, commands print nothing but a bar of progress: what they would say is raised or returned."""
    before = [(console, console.quiet) for console in (out, err)]
    try:
        for console, _ in before:
            console.quiet = True
        yield
    finally:
        for console, quiet in before:
            console.quiet = quiet


def print_paths(paths: list[Path]) -> None:
    out.print("Written:")
    for path in paths:
        out.print(f"  {path}", markup=False, soft_wrap=True)


def say(console: Console, text: str, style: str = "") -> None:
    """Prints text that strangers may have written, line by line; nothing in it steers the terminal."""
    from lth_bench.reports.escaping import plain

    for line in text.splitlines():
        console.print(plain(line), style=style, markup=False, soft_wrap=True)


def refuse(faults: list[str]) -> NoReturn:
    """Ends the program with status 2 and a sentence for each fault."""
    for fault in faults:
        say(err, f"lth-bench: {fault}", "red")
    raise Refused(faults)


def finish(results: Results) -> None:
    """Names the files that the tables were made without; ends the program with status 1 if there are any."""
    for trouble in results.evidence.left_out:
        say(err, f"{trouble.status}, left out of the tables: {trouble.message}", "yellow")
    if results.evidence.left_out:
        sys.exit(1)
