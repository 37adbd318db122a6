"""Arguments of the commands: those that several share, and those of `lth-bench run`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A built-in suite or the path of a .toml file.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
RunDirectories = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run directories.")]
Output = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run directory; by default runs/SUITE.")]
PluginFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file with hooks, such as ./mine.py, used like an installed plugin; can be repeated.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", envvar="LTH_BENCH_DATA", help="The folder that holds data sets, and perhaps weights."
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="EXPR",
        help="Only experiments for which this holds, and what they need, for instance "
        "\"pruner == 'imp' and sparsity > 0.9\"; "
        "columns: dataset, model, recipe, pruner, control, label, sparsity, pattern, seed, key.",
    ),
]
AllRevisions = Annotated[
    bool,
    typer.Option("--all-revisions", help="Also show results of which a raised revision has taken the place."),
]
Equivalence = Annotated[
    float,
    typer.Option(min=0.0, metavar="POINTS", help="Differences to the best mean that do not count."),
]


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Worker processes; by default one a processor.")
]
TrainedOn = Annotated[Device, typer.Option("--device", help="Where networks are trained.")]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch absent data sets into --data, absent checkpoints into timm's cache.")
]
Loaders = Annotated[
    int,
    typer.Option("--loaders", min=0, metavar="N", help="Processes per worker to read images that do not fit memory."),
]
Redo = Annotated[
    str | None,
    typer.Option(
        "--redo",
        metavar="EXPR",
        help="Compute again the experiments for which this holds, and the controls on their tickets; what they had "
        "is moved into OUT/redone/. Columns as for --only.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Stop at checkpoints when so much time is nearly over, such as 2h."),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ENGINE",
        help="Let this engine supply the processes; its own options follow, such as --on slurm --time 2h. "
        "`lth-bench list engines` names them.",
    ),
]
OfEngine = Annotated[
    list[str] | None, typer.Argument(metavar="[--NAME VALUE]", hidden=True, help="The options of the engine.")
]
MixCode = Annotated[bool, typer.Option("--mix-code", help="Go on although code has changed since records were made.")]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", envvar="LTH_BENCH_STORE", help="Store of shared training; by default OUT/store."
    ),
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Compute everything, share nothing.")]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time-limit", metavar="TIME", help="End an experiment that takes longer, such as 90s, 10m, 2h."),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option("--memory-limit", metavar="SIZE", help="End an experiment that takes more memory, such as 8GB."),
]
Observed = Annotated[
    list[str] | None,
    typer.Option(
        "--observe",
        metavar="NAME",
        help='Show experiments in a tracker while they run, such as tensorboard or "mlflow uri=mlruns"; repeatable.',
    ),
]
StallLimit = Annotated[
    str, typer.Option("--stall-limit", metavar="TIME", help="End an experiment without progress for so long.")
]
NoReport = Annotated[
    bool, typer.Option("--no-report", help="Print the leaderboard; write no tables, figures or report.")
]
