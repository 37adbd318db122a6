"""The command `lth-bench analyse`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import (
    DataRoot,
    Device,
    Loaders,
    MemoryLimit,
    MixCode,
    NoReport,
    NoStore,
    PluginFiles,
    RunDirectory,
    StallLimit,
    StoreFolder,
    TimeLimit,
    TrainedOn,
    Workers,
)
from lth_bench.cli.preconditions import read_limits, refuse_changed, refuse_places
from lth_bench.cli.selection import installed_plugins, matching
from lth_bench.cli.terminal import err, out, print_paths, refuse, say
from lth_bench.cli.working import display, fork_server, work

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Choice
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.reports.analyses import ShownAnalysis
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity


def analyse(
    directory: RunDirectory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An analysis; `lth-bench list analyses` names them.")],
    options: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=VALUE", help="A parameter of the analysis; can be repeated."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Only experiments for which this holds; columns as for `lth-bench run`."),
    ] = None,
    redo: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Compute again what it found of the experiments for which this holds."),
    ] = None,
    mix_code: MixCode = False,
    workers: Workers = None,
    data: DataRoot = None,
    device: TrainedOn = Device.auto,
    loaders: Loaders = 0,
    store: StoreFolder = None,
    no_store: NoStore = False,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    stall_limit: StallLimit = "30m",
    no_report: NoReport = False,
    plugin: PluginFiles = None,
) -> None:
    """Compute what an analysis finds of the finished experiments of a run directory, where that is missing."""
    from lth_bench.running.code import Code
    from lth_bench.running.plugin_files import copy_files
    from lth_bench.running.status import missing
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.records import analysis_path, plugin_folder

    limits = read_limits(time_limit, memory_limit, stall_limit)
    plugins = installed_plugins(plugin, directory)
    choice = _chosen(plugins, name, options or [])
    every = _identities(directory, choice, plugins)
    keys = matching(every, "--only", only) if only else {item.experiment.key for item in every}
    chosen = [item for item in every if item.experiment.key in keys]
    again = matching(chosen, "--redo", redo) if redo else set()
    redone = frozenset(item.key for item in chosen if item.experiment.key in again)
    folder, code = analysis_path(directory, name), Code(plugins)
    if not mix_code:
        refuse_changed(folder, [item for item in every if item.key not in redone], chosen, code)
    if todo := missing(folder, chosen, redone):
        shared = None if no_store else store or directory / "store"
        sweep = Sweep(
            directory=folder,
            data_root=data,
            device=device.value,
            store=shared,
            limits=limits,
            loaders=loaders,
            code=code.fingerprints(todo),
            weights=_weights(todo, plugins, directory, data),
            server=fork_server(),
            plugins=plugin_folder(directory),
        )
        refuse_places(sweep, name)
        copy_files(plugins, directory)
        needs_data = getattr(plugins.analyses[name], "reads_data", True)
        _run_missing(sweep, todo, redone, workers, needs_data=needs_data)
    else:
        out.print(f"{name}: nothing is missing of {len(chosen)} experiments in {folder}/", markup=False)
    if no_report:
        _print(directory, name)
    else:
        _write_report(directory, name)
    _tell(directory, name, chosen)


def _chosen(plugins: Plugins, name: str, options: list[str]) -> Choice:
    """The analysis with its parameters; ends the program if there is none."""
    from lth_bench.errors import UnknownName
    from lth_bench.experiments.choices import assigned, choice

    try:
        return choice(plugins.analyses, name, dict(assigned(text, "points=11") for text in options))
    except (UnknownName, ValueError) as error:
        refuse(str(error).splitlines())


def _identities(directory: Path, choice: Choice, plugins: Plugins) -> list[Identity]:
    """What the records of an analysis will say of every experiment; ends the program if there is nothing to read."""
    from lth_bench.running.standing import done
    from lth_bench.storage.record import analysis_identity
    from lth_bench.storage.records import ticket_path

    if not directory.is_dir():
        refuse([f"there is no run directory {directory}"])
    found = [(item, record.ticket) for item, record in done(directory) if record.ticket]
    if not found:
        refuse([f"no experiment in {directory} is finished; run its suite first"])
    if getattr(plugins.analyses[choice.name], "reads_ticket", True):
        found = [(item, ticket) for item, ticket in found if ticket_path(directory, item.key).exists()]
        if not found:
            refuse([f"no tickets in {directory}/tickets; run the suite first, or without removing them"])
    return [analysis_identity(choice, item, ticket.sha256) for item, ticket in found]


def _weights(todo: list[Identity], plugins: Plugins, directory: Path, data: Path | None) -> dict[str, Path]:
    """The files of weights that models start from, as far as the suites of these experiments still find them."""
    from lth_bench.errors import SuiteError
    from lth_bench.experiments.plan import plan, read_suite, weight_folders
    from lth_bench.storage.records import suite_copy

    found: dict[str, Path] = {}
    for suite in dict.fromkeys(item.suite for item in todo if "weights" in item.experiment.model.arguments):
        name = suite if suite in plugins.suites else str(suite_copy(directory, suite))
        try:
            folders = [*weight_folders(name, plugins, data), Path()]
            planned = plan(read_suite(name, plugins, data)[1], plugins, folders)
        except SuiteError:  # the worker says which file it lacks
            continue
        found |= {item.experiment.model.arguments["weights"]: item.weights for item in planned if item.weights}
    return found


def _run_missing(
    sweep: Sweep, todo: list[Identity], redone: frozenset[str], workers: int | None, *, needs_data: bool
) -> None:
    from lth_bench.running.pool import WorkerPool
    from lth_bench.running.status import put_aside

    pool = WorkerPool(sweep, len(todo), workers)
    try:
        if needs_data and (faults := pool.check(todo)):
            refuse(faults)
        if count := put_aside(sweep.directory, redone):
            out.print(f"{count} records are now in {sweep.directory}/redone/", markup=False)
        count = len(pool.processes)
        crowd = f"{count} worker{'s' * (count > 1)}"
        out.print(f"{len(todo)} experiments to analyse on {crowd}, into {sweep.directory}/", markup=False)
        with display(len(todo)) as tell:
            kept = f"{sweep.directory}/ keeps what was finished, and the same command goes on from there"
            work(sweep, todo, pool, tell, kept)
    finally:
        pool.dismiss()


def _tell(directory: Path, name: str, chosen: list[Identity]) -> None:
    """Says where the analysis does not apply, and what failed; exit status 1 if something did."""
    from lth_bench.cli.display import title
    from lth_bench.running.standing import standing
    from lth_bench.storage.records import analysis_path

    folder, unfit, failures = analysis_path(directory, name), Counter[str](), 0
    for item in chosen:
        now = standing(folder, item.key)
        if now.record and now.record.findings and now.record.findings.reason:
            unfit[now.record.findings.reason] += 1
        if now.record and now.record.error:
            failures += 1
            words = " ".join(now.record.error.words.split())[:300]
            say(err, f"{now.state}: {title(item)}: {words}; see {folder}/records/{item.key}.json")
    for reason, count in unfit.items():
        say(err, f"does not apply to {count} experiments: {reason}")
    if failures:
        raise typer.Exit(1)


def _print(directory: Path, name: str) -> None:
    from lth_bench.reports.analyses import shown
    from lth_bench.results.analyses import analyses
    from lth_bench.results.frame import load

    _print_tables(shown(analyses(load(directory))), name)


def _write_report(directory: Path, name: str) -> None:
    """Prints the tables of the analysis, and writes the report, where its figure is."""
    from lth_bench.reports.report import compare, write_report, write_tables
    from lth_bench.results.frame import load

    report = compare(load(directory))
    _print_tables(report.analyses, name)
    print_paths([*write_tables(report, directory), *write_report(report, directory / "report")])


def _print_tables(analyses: list[ShownAnalysis], name: str) -> None:
    from lth_bench.reports.analyses import notes, tables
    from lth_bench.reports.formats.terminal import document

    for one in analyses:
        if one.analysis.choice.name == name:
            for part in document(found, out.width) if (found := tables(one)) else ():
                out.print(part)
            say(out, " ".join(notes(one)))
