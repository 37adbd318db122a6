"""`lth-bench claims`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lth_bench.cli.arguments import PluginFiles, RunDirectories
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import finish, out, refuse

if TYPE_CHECKING:
    from lth_bench.experiments.claims import ClaimEntry

STYLES = {"shown": "green", "contradicted": "red", "not told": "dim"}
WIDTH = max(map(len, STYLES))


class ClaimFormat(StrEnum):
    md = "md"
    csv = "csv"
    json = "json"


def claims(
    directories: RunDirectories,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="SUITE", help="Judge the claims of this suite, built-in or a .toml file, not those of the runs."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a claim is contradicted.")] = False,
    format: Annotated[ClaimFormat | None, typer.Option(help="Print a table in this format instead.")] = None,
    plugin: PluginFiles = None,
) -> None:
    """Judge the claims of suites by the results of run directories, each by itself: shown, contradicted or not told."""
    from lth_bench.reports import claims as shown
    from lth_bench.results.analyses import analyses
    from lth_bench.results.frame import load

    stated = _stated(suite, plugin) if suite else None
    every = [load(directory) for directory in directories]
    found = [one for results in every for one in shown.judgements(results, analyses(results), stated)]
    first, *others = every
    for other in others:
        first.evidence.include(other.evidence)
    if not found:
        finish(first)
        refuse([f"no claims in {suite or 'the suites of these runs'}; a suite states them as [[claims]]"])
    if format is None:
        for one, words, measured in shown.lines(found):
            out.print(Text.assemble((f"{one.verdict:{WIDTH}}  ", STYLES[one.verdict]), words), soft_wrap=True)
            out.print(Text(f"{'':{WIDTH}}  {measured}"), soft_wrap=True, style="dim")
        counts = ", ".join(f"{sum(one.verdict == name for one in found)} {name}" for name in STYLES)
        out.print(f"\n{counts}", markup=False)
    else:
        sys.stdout.write(shown.formatted(found, format.value))
    finish(first)
    if strict and any(one.verdict == "contradicted" for one in found):
        raise typer.Exit(1)


def _stated(suite: str, files: list[Path] | None) -> list[ClaimEntry]:
    """The claims of a suite; ends the program if it is unusable."""
    from lth_bench.errors import SuiteError
    from lth_bench.experiments.plan import read_suite

    plugins = installed_plugins(files)
    try:
        return list(read_suite(suite, plugins)[1].claims)
    except SuiteError as error:
        refuse(error.faults)
