"""The command `lth-bench`."""

from __future__ import annotations

import atexit
import gc
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lth_bench.cli import plugin, store, tickets
from lth_bench.cli.analyse import analyse
from lth_bench.cli.arguments import PluginFiles, RunDirectory
from lth_bench.cli.claims import claims
from lth_bench.cli.doctor import doctor
from lth_bench.cli.export import export
from lth_bench.cli.figure import figure
from lth_bench.cli.latency import latency
from lth_bench.cli.observe import observe
from lth_bench.cli.plan import plan
from lth_bench.cli.report import leaderboard, report
from lth_bench.cli.run import MORE_OPTIONS, run
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.site import site
from lth_bench.cli.submit import submit
from lth_bench.cli.table import table
from lth_bench.cli.terminal import out, refuse, say
from lth_bench.cli.verify import verify
from lth_bench.cli.work import work

OBJECTS = 100_000
"""New objects between two looks of the garbage collector: a command makes few cycles, and imports make none."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compares pruning methods on the same models, data and recipes.",
)


class Kind(StrEnum):
    pruners = "pruners"
    controls = "controls"
    models = "models"
    datasets = "datasets"
    recipes = "recipes"
    suites = "suites"
    observers = "observers"
    analyses = "analyses"
    engines = "engines"


def main() -> None:
    """The entry point: unusable input ends with exit status 2 and a sentence."""
    from lth_bench.errors import DataError, FileFault

    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)  # else the interpreter looks through all objects once more before it ends
    try:
        Path.cwd()
    except OSError:
        refuse(["the folder in which this command was started is gone; change to another one and start it again"])
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


def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], plugin: PluginFiles = None) -> None:
    """List what the installed plugins offer, and the plugins that could not be loaded."""
    from lth_bench.cli.display import origin, summary

    plugins = installed_plugins(plugin)
    registry = getattr(plugins, kind.value)
    table = Table("name", "from", "what it is", box=None)
    for name in registry:
        provider = registry.providers[name]
        words = Text.assemble(summary(registry[name]), (f"\n{said}" if (said := origin(registry[name])) else "", "dim"))
        table.add_row(name, f"{provider.distribution} {provider.version}", words)
    out.print(table)
    if kind is Kind.models:
        out.print("\nand every model of timm: python -c 'import timm; print(*timm.list_models(), sep=\"\\n\")'")


def status(directory: RunDirectory) -> None:
    """Show what is done, running and failed in a run directory, and what the next run would do again.

    The exit status is 1 if a file cannot be read.
    """
    from lth_bench.cli.display import print_state
    from lth_bench.cli.engines import print_jobs
    from lth_bench.running.code import mixtures
    from lth_bench.running.status import survey

    surveyed = survey(directory)
    print_state(out, surveyed)
    print_jobs(directory)
    for text in mixtures(directory, [item.identity for item in surveyed if item.identity]):
        say(out, text)
    if any(item.state in ("damaged", "unreadable") for item in surveyed):
        raise typer.Exit(1)


app.command(context_settings=MORE_OPTIONS)(run)
for command in (
    work,
    status,
    plan,
    analyse,
    observe,
    leaderboard,
    claims,
    report,
    table,
    figure,
    latency,
    doctor,
    export,
    verify,
    submit,
    site,
):
    app.command()(command)
app.command("list")(list_)
app.add_typer(store.app, name="store")
app.add_typer(tickets.app, name="tickets")
app.add_typer(plugin.app, name="plugin")
