"""`lth-bench site`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lth_bench.cli.terminal import out, refuse


def site(
    folder: Annotated[Path, typer.Argument(metavar="BOARDS", help="The folder of all boards, such as leaderboards.")],
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the site.")],
) -> None:
    """Write the site of all boards: a front page, and pages of boards, methods and records, to be served as files."""
    from lth_bench.reports.site.site import write_site

    boards = sorted(path.parent for path in folder.glob("*/plan.json"))
    if not boards:
        refuse(
            [f"no boards in {folder}: a board is a folder with plan.json and records/, as lth-bench submit makes it"]
        )
    pages = list(write_site(boards, to))
    out.print(f"{len(pages)} pages of {len(boards)} boards; open {pages[-1]}", markup=False, soft_wrap=True)
