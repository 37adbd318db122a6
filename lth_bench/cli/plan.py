"""`lth-bench plan`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from lth_bench.cli.arguments import Only, Output, PluginFiles, SuiteName
from lth_bench.cli.selection import installed_plugins, select
from lth_bench.cli.terminal import out
from lth_bench.experiments.choices import label

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Planned
    from lth_bench.experiments.plugins import Plugins

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Also read the data sets below this folder, and print their sizes; weights may lie there too.",
    ),
]


def plan(
    suite: SuiteName, directory: Output = None, data: Data = None, only: Only = None, plugin: PluginFiles = None
) -> None:
    """Show which experiments a suite would run and, with --data, whether their data are there."""
    from lth_bench.running.standing import standing

    plugins = installed_plugins(plugin)
    selected = select(suite, only, plugins, data)
    directory = directory or selected.directory
    table = Table("model", "data", "method", "recipe", "sparsities", "seeds", "experiments", "done", box=None)
    total = done = 0
    for place, items in _rows(selected.chosen).items():
        states = [standing(directory, item.experiment.key).readable().state for item in items]
        finished = states.count("done")
        total, done = total + len(items), done + finished
        sparsities = " ".join(f"{s:g}" for s in sorted({item.experiment.sparsity for item in items}))
        seeds = _spans(sorted({item.experiment.seed for item in items}))
        table.add_row(*map(Text, place), sparsities, seeds, str(len(items)), str(finished))
    out.print(table)
    out.print(
        f"\n{selected.suite}: {total} experiments, {done} of them done in {directory}/, {total - done} to run. "
        "The method decides how long an experiment trains: most train for the duration of their recipe, iterative "
        "ones once a round."
    )
    if data:
        _print_data(selected.chosen, plugins, data)


def _print_data(planned: list[Planned], plugins: Plugins, root: Path) -> None:
    """Reads the data sets of these experiments and prints their sizes. Raises DataError."""
    import torch

    from lth_bench.experiments.choices import titled
    from lth_bench.running.context import Context

    context = Context(plugins, root, torch.device("cpu"))
    for entry in {str(item.experiment.dataset): item.experiment.dataset for item in planned}.values():
        splits = dict(zip(("training", "validation"), context.training(entry), strict=True))
        sizes = ", ".join(f"{len(s):,} for {name}" for name, s in {**splits, "test": context.test(entry)}.items())
        shape = "×".join(map(str, splits["training"].shape))
        text = f"{titled(plugins.datasets, entry)}: {sizes}; {shape}, {context.classes(entry)} classes"
        out.print(text, markup=False, soft_wrap=True)


def _spans(numbers: list[int]) -> str:
    """Rising numbers in short: 0-9 12."""
    rows = [[pair[1] for pair in row] for _, row in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return " ".join(f"{row[0]}-{row[-1]}" if len(row) > 3 else " ".join(map(str, row)) for row in rows)


def _rows(planned: list[Planned]) -> dict[tuple[str, ...], list[Planned]]:
    """Experiments by model, data, method and recipe."""
    rows: dict[tuple[str, ...], list[Planned]] = {}
    for item in planned:
        e = item.experiment
        model, dataset = item.model_label or label(e.model), item.dataset_label or label(e.dataset)
        rows.setdefault((model, dataset, item.label, f"{item.recipe}, {e.recipe.duration}"), []).append(item)
    return rows
