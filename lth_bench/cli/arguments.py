"""Arguments shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A built-in suite or the path of a .toml file.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
RunDirectories = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run directories.")]
Output = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run directory; by default runs/SUITE.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="LTH_BENCH_DATA", help="The folder that holds data sets."),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="EXPR",
        help="Only experiments for which this holds, and what they need, for instance "
        "\"pruner == 'imp' and sparsity > 0.9\"; "
        "columns: dataset, model, recipe, pruner, control, label, sparsity, seed, key.",
    ),
]
AllRevisions = Annotated[
    bool,
    typer.Option("--all-revisions", help="Also show results of which a raised revision has taken the place."),
]
