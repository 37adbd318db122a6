"""The commands `lth-bench plugin …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lth_bench.cli.arguments import PluginFiles
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import out, print_paths, refuse
from lth_bench.experiments.choices import assigned

if TYPE_CHECKING:
    from lth_bench.conformance.examination import Finding
    from lth_bench.experiments.plugins import Plugins

app = typer.Typer(no_args_is_help=True, help="Write a plugin, and check that a pruner keeps to the contract.")
COLOURS = {"holds": "green", "fails": "red", "does not apply": "yellow"}


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE", help="A pruner as `lth-bench list pruners` shows it, or a file such as ./mine.py."
        ),
    ],
    options: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=VALUE", help="A parameter, such as rate=0.5; repeatable."),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(metavar="S", help="Prune all networks to this sparsity; by default each has one of its own."),
    ] = None,
    plugin: PluginFiles = None,
) -> None:
    """Hold a pruner to the contract of all pruners, in less than a minute (status 1: it breaks a rule)."""
    plugins = installed_plugins(plugin)
    try:
        arguments = dict(assigned(text, "rate=0.5") for text in options or [])
        broken = [_breaks(plugins, one, arguments, sparsity) for one in _pruners(plugins, name)]
    except (LookupError, ValueError) as error:
        refuse(str(error).splitlines())
    if any(broken):
        raise typer.Exit(1)


def _pruners(plugins: Plugins, name: str) -> list[str]:
    """The pruner of this name, or those that the file of this name registers; ends the program if there are none."""
    from lth_bench.running.plugin_files import load_file

    if not name.endswith(".py"):
        return [name]
    found = plugins.names_of(load_file(Path(name), plugins))
    if "pruners" not in found:
        refuse([f"the plugin {name} registers no pruner, and only pruners have a contract; it has {', '.join(found)}"])
    return found["pruners"]


def _breaks(plugins: Plugins, name: str, arguments: dict[str, Any], sparsity: float | None) -> bool:
    """Prints what a pruner does with each rule; whether it breaks one."""
    from lth_bench.conformance.examination import check, check_variants

    with out.status(f"trying {name}"):
        findings = [*check(plugins, name, arguments, sparsity), *check_variants(plugins, name, arguments, sparsity)]
    _print(findings)
    broken = sum(finding.state == "fails" for finding in findings)
    out.print(f"{name}: {f'{broken} of {len(findings)} rules do not hold' if broken else 'everything holds'}")
    return broken > 0


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the pruner is to be called in suites.")],
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The folder to write; by default NAME.")
    ] = None,
) -> None:
    """Write a package with a pruner, its tests and a README, ready for pip and for your changes."""
    from lth_bench.cli.scaffold import ScaffoldError, write_plugin

    folder = folder or Path(name)
    try:
        paths = write_plugin(name, folder, installed_plugins())
    except ScaffoldError as error:
        refuse([str(error)])
    print_paths(paths)
    out.print(f"\nNext: pip install --editable {folder}; lth-bench plugin check {name}", markup=False, soft_wrap=True)


def _print(findings: list[Finding]) -> None:
    table = Table("rule", "", "why", box=SIMPLE_HEAD)
    for finding in findings:
        colour = COLOURS[finding.state]
        table.add_row(Text(finding.words), Text(finding.state, colour), Text(finding.reason))
    out.print(table)
