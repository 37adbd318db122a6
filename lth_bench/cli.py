"""The command `lth-bench`."""

from __future__ import annotations

import sys
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lth_bench import plugin_command, run_command, store_command, table_command
from lth_bench.arguments import DataRoot, Only, Output, RunDirectories, RunDirectory, SuiteName
from lth_bench.selection import installed_plugins, select
from lth_bench.terminal import out, print_paths, refuse

if TYPE_CHECKING:
    from lth_bench.suite import Planned

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compares pruning methods on the same models, data and recipes.",
)
app.command()(run_command.run)
app.command()(table_command.table)
app.add_typer(store_command.app, name="store")
app.add_typer(plugin_command.app, name="plugin")


class Format(StrEnum):
    md = "md"
    csv = "csv"
    json = "json"
    tex = "tex"
    html = "html"


class Kind(StrEnum):
    pruners = "pruners"
    controls = "controls"
    models = "models"
    datasets = "datasets"
    recipes = "recipes"
    suites = "suites"


def main() -> None:
    """The entry point: unusable input ends with exit status 2 and a sentence."""
    from lth_bench.datasets import DataError
    from lth_bench.files import FileFault

    try:
        app()
    except (FileFault, DataError, OSError) as error:
        refuse([str(error)])


def _version(wanted: bool) -> None:
    if wanted:
        from lth_bench import __version__

        out.print(f"lth-bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def plan(suite: SuiteName, directory: Output = None, only: Only = None) -> None:
    """Show what a suite would run, and how much."""
    from lth_bench.sweep import status

    selected = select(suite, only, installed_plugins())
    directory = directory or selected.directory
    table = Table("model", "data", "method", "recipe", "sparsities", "seeds", "experiments", "done", box=None)
    total = done = 0
    for place, items in _rows(selected.chosen).items():
        finished = sum(status(directory, item.experiment.key) == "done" for item in items)
        total, done = total + len(items), done + finished
        sparsities = " ".join(f"{s:g}" for s in sorted({item.experiment.sparsity for item in items}))
        seeds = _spans(sorted({item.experiment.seed for item in items}))
        table.add_row(*map(escape, place), sparsities, seeds, str(len(items)), str(finished))
    out.print(table)
    out.print(
        f"\n{selected.suite}: {total} experiments, {done} of them done in {directory}/, {total - done} to run; "
        "each trains for its recipe's duration at least once, iterative methods once a round."
    )


def _spans(numbers: list[int]) -> str:
    """Rising numbers, several in a row by the first and the last: 0-9 12."""
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


@app.command()
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
) -> None:
    """Print the leaderboard of a run directory, or of several that can be compared."""
    from lth_bench.comparison import load_all
    from lth_bench.display import print_leaderboard
    from lth_bench.leaderboard import arranged, board
    from lth_bench.tables import formatted

    found = board(load_all(directories).frame)
    try:
        found = arranged(found, sort) if sort else found
    except LookupError as error:
        refuse([f"--sort: {error.args[0]}"])
    if format is None:
        print_leaderboard(out, found)
    else:
        sys.stdout.write(formatted(found, format.value))


@app.command()
def report(
    directories: RunDirectories,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; by default DIR/report.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write the tables; by default the run directory."),
    ] = None,
) -> None:
    """Write the tables, the figures, a Markdown report and a page of a run directory, or of several."""
    from lth_bench.comparison import load_all
    from lth_bench.report import made, write_report, write_tables

    if len(directories) > 1 and folder is None:
        refuse(["of several run directories, --out says where to write"])
    found = made(load_all(directories))
    beside = folder if folder and len(directories) > 1 else directories[0]
    print_paths([*write_tables(found, tables or beside), *write_report(found, folder or directories[0] / "report")])


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List what the installed plugins offer, and the plugins that could not be loaded."""
    from lth_bench.display import about

    plugins = installed_plugins()
    registry = getattr(plugins, kind.value)
    table = Table("name", "from", "what it is", box=None)
    for name in registry:
        source = registry.sources[name]
        table.add_row(name, f"{source.distribution} {source.version}", escape(about(registry[name])))
    out.print(table)
    if kind is Kind.models:
        out.print("\nand every model of timm: python -c 'import timm; print(*timm.list_models(), sep=\"\\n\")'")


@app.command()
def status(directory: RunDirectory) -> None:
    """Show what is done, running and failed in a run directory, and what the next run would do again."""
    from lth_bench.display import print_state
    from lth_bench.state import examine

    print_state(out, examine(directory))


@app.command()
def doctor(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of timm or of a plugin.")],
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="NAME=VALUE", help="An argument, such as stem=cifar or keep=['first']; repeatable."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME[=PATH]", help="Its images and classes; by default noise of 32×32 in 10 classes."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="A recipe, for its initial weights.")] = None,
    data: DataRoot = None,
) -> None:
    """Tell whether a model is fit to be pruned at initialisation, and what would mend it (status 1: it is not)."""
    from lth_bench.consultation import Question, consult
    from lth_bench.display import print_findings

    try:
        found = consult(Question(model, options or [], dataset, recipe), installed_plugins(), data)
    except (LookupError, ValueError) as error:
        refuse(str(error).splitlines())
    print_findings(out, found)
    if found.findings.reasons:
        raise typer.Exit(1)
