"""`lth-bench plan`."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lth_bench.cli.arguments import Only, Output, SuiteName
from lth_bench.cli.selection import installed_plugins, select
from lth_bench.cli.terminal import out

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Planned


def plan(suite: SuiteName, directory: Output = None, only: Only = None) -> None:
    """Show which experiments a suite would run."""
    from lth_bench.running.standing import standing

    selected = select(suite, only, installed_plugins())
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
        f"\n{selected.suite}: {total} experiments, {done} of them done in {directory}/, {total - done} to run; "
        "each trains at least once for the duration of its recipe, iterative methods once a round."
    )


def _spans(numbers: list[int]) -> str:
    """Rising numbers in short: 0-9 12."""
    rows = [[pair[1] for pair in row] for _, row in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return " ".join(f"{row[0]}-{row[-1]}" if len(row) > 3 else " ".join(map(str, row)) for row in rows)


def _rows(planned: list[Planned]) -> dict[tuple[str, ...], list[Planned]]:
    """Experiments by model, data, method and recipe."""
    rows: dict[tuple[str, ...], list[Planned]] = {}
    for item in planned:
        e = item.experiment
        recipe = f"{item.recipe}, {e.recipe.duration}"
        rows.setdefault((e.model.name, e.dataset.name, item.label, recipe), []).append(item)
    return rows
