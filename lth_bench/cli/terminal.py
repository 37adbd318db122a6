"""Where commands print, and how they end on unusable input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console

PLAIN_WIDTH = 140  # characters of tables in a file or a pipe
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, highlight=False, emoji=False)


def print_paths(paths: list[Path]) -> None:
    out.print("Written:")
    for path in paths:
        out.print(f"  {path}", markup=False, soft_wrap=True)


def refuse(faults: list[str]) -> NoReturn:
    """Ends the program with status 2 and a sentence for each fault."""
    for fault in faults:
        err.print(f"lth-bench: {fault}", style="red", markup=False, soft_wrap=True)
    sys.exit(2)
