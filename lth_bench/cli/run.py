"""The command `lth-bench run`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import typer

from lth_bench.cli.arguments import (
    DataRoot,
    Device,
    Download,
    Loaders,
    MemoryLimit,
    MixCode,
    NoReport,
    NoStore,
    Observed,
    OfEngine,
    On,
    Only,
    Output,
    PluginFiles,
    Redo,
    StallLimit,
    StoreFolder,
    SuiteName,
    TimeLimit,
    TrainedOn,
    Workers,
)
from lth_bench.cli.engines import chosen_engine, supply
from lth_bench.cli.observe import chosen_observers
from lth_bench.cli.preconditions import (
    download_absent,
    download_checkpoints,
    planned_before,
    read_limits,
    refuse_changed,
    refuse_places,
)
from lth_bench.cli.selection import Selection, default_directory, installed_plugins, select
from lth_bench.cli.terminal import err, finish, out, print_paths, refuse, say
from lth_bench.cli.working import display, fork_server, work

if TYPE_CHECKING:
    from lth_bench.results.frame import Results
    from lth_bench.running.engines import WorkEngine
    from lth_bench.running.pool import WorkerPool
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity


MORE_OPTIONS = {"ignore_unknown_options": True}  # those of engines


def run(
    suite: SuiteName,
    more: OfEngine = None,
    directory: Output = None,
    workers: Workers = None,
    data: DataRoot = None,
    device: TrainedOn = Device.auto,
    download: Download = False,
    loaders: Loaders = 0,
    only: Only = None,
    redo: Redo = None,
    mix_code: MixCode = False,
    store: StoreFolder = None,
    no_store: NoStore = False,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    stall_limit: StallLimit = "30m",
    observe: Observed = None,
    no_report: NoReport = False,
    plugin: PluginFiles = None,
    on: On = None,
) -> None:
    """Run the missing experiments of a suite, then print its leaderboard."""
    from lth_bench.running.code import Code
    from lth_bench.running.plugin_files import copy_files
    from lth_bench.running.status import missing
    from lth_bench.running.sweep import Sweep

    limits = read_limits(time_limit, memory_limit, stall_limit)
    server = fork_server()
    directory = directory or default_directory(suite)
    plugins = installed_plugins(plugin, directory)
    engine = chosen_engine(plugins, on, more or [], run)
    observers = chosen_observers(observe or [], plugins)
    if download:
        download_checkpoints(suite, plugins, data)
    selected = select(suite, only, plugins, data, redo)
    code = Code(plugins)
    if not mix_code:
        known = [*planned_before(directory), *selected.identities]
        refuse_changed(
            directory, [item for item in known if item.key not in selected.redone], selected.identities, code
        )
    if todo := missing(directory, selected.identities, selected.redone):
        shared = None if no_store else store or directory / "store"
        sweep = Sweep(
            directory=directory,
            data_root=data,
            device=device.value,
            store=shared,
            limits=limits,
            loaders=loaders,
            code=code.fingerprints(todo),
            weights=selected.weights,
            observers=observers,
            server=server,
        )
        refuse_places(sweep, selected.suite)
        copy_files(plugins, directory)
        if download:
            download_absent(plugins, selected.chosen, data)
        if engine is not None:
            _hand_over(sweep, selected, todo, engine, workers)
        else:
            _run_missing(sweep, selected, todo, workers, None if no_report else _preparation())
    else:
        server.stop()
        _tell_complete(directory, selected)
    results = _print_results(directory) if no_report else _report(directory)
    _tell_failures(results, selected, directory)


def _run_missing(
    sweep: Sweep, selected: Selection, todo: list[Identity], workers: int | None, preparing: Thread | None
) -> None:
    """Checks these experiments, then runs them on `workers` processes, or as many as there is room for.

    What the report needs is imported meanwhile.
    """
    from lth_bench.running.pool import WorkerPool

    pool = WorkerPool(sweep, len(todo), workers)
    if preparing:
        preparing.start()
    try:
        _prepare(sweep, selected, todo, pool)
        count = len(pool.processes)
        crowd = f"{count} worker{'s' * (count > 1)}"
        what = f"{len(todo)} of {len(selected.chosen)} experiments to run on {crowd}"
        out.print(f"{selected.suite}: {what}, into {sweep.directory}/")
        with display(len(todo)) as tell:
            same = "the same command" + (" without --redo" if selected.redone else "")
            work(sweep, todo, pool, tell, f"{sweep.directory}/ keeps what was finished, and {same} goes on from there")
        if preparing:
            preparing.join()
    finally:
        pool.dismiss()


def _hand_over(
    sweep: Sweep, selected: Selection, todo: list[Identity], engine: WorkEngine, workers: int | None
) -> None:
    """Checks these experiments, and has an engine supply the processes that run them."""
    from lth_bench.running.orders import put_failed_aside
    from lth_bench.running.pool import WorkerPool

    pool = WorkerPool(sweep, len(todo), 1)
    try:
        _prepare(sweep, selected, todo, pool)
    finally:
        pool.dismiss()
    put_failed_aside(sweep.directory, todo)
    supply(engine, sweep, todo, workers, selected.suite)


def _prepare(sweep: Sweep, selected: Selection, todo: list[Identity], pool: WorkerPool) -> None:
    """Checks these experiments, and writes what is planned and what is to be done."""
    from lth_bench.running.orders import write_order
    from lth_bench.running.status import put_aside

    if faults := pool.check(todo):
        refuse(faults)
    _write_plan(sweep.directory, selected)
    if count := put_aside(sweep.directory, selected.redone):
        out.print(f"{selected.suite}: {count} records are now in {sweep.directory}/redone/")
    write_order(sweep, todo)


def _tell_complete(directory: Path, selected: Selection) -> None:
    """Says that nothing is missing, and writes the plan, of which labels may be new."""
    from lth_bench.errors import DiskFault

    with suppress(DiskFault):  # a finished directory may be on a medium that cannot be written
        _write_plan(directory, selected)
    out.print(f"{selected.suite}: all {len(selected.chosen)} experiments are already in {directory}/")


def _write_plan(directory: Path, selected: Selection) -> None:
    """Adds a suite to the plan of a run directory, and copies its file there."""
    from lth_bench.storage.files import publish
    from lth_bench.storage.records import suite_copy, write_plan

    write_plan(directory, selected.suite, selected.planned, selected.methods)
    copy, text = suite_copy(directory, selected.suite), selected.path.read_bytes()
    if not copy.exists() or copy.read_bytes() != text:
        publish(copy, text)


def _preparation() -> Thread:
    """A thread, not started, that imports what the report needs."""
    return Thread(target=_prepare_report, daemon=True)


def _prepare_report() -> None:
    from lth_bench.reports.figures.pictures import prepare
    from lth_bench.reports.formats import terminal  # noqa: F401
    from lth_bench.reports.page import render  # noqa: F401
    from lth_bench.reports.report import compare  # noqa: F401

    prepare()


def _print_results(directory: Path) -> Results:
    """Prints the leaderboard and what the store has saved."""
    from lth_bench.cli.display import print_leaderboard, print_superseded
    from lth_bench.results.frame import load
    from lth_bench.results.leaderboard import summarise

    results = load(directory)
    print_superseded(results)
    print_leaderboard(out, summarise(results.frame))
    computed, charged = results.evidence.computed, results.evidence.charged
    if computed < charged:
        out.print(f"Training: {computed:,} steps computed of {charged:,} charged, the rest came from the store.\n")
    return results


def _report(directory: Path) -> Results:
    """Prints the results, and writes tables and report unless they are newer than the records."""
    from lth_bench.reports.report import compare, write_report, write_tables, written

    results = _print_results(directory)
    if not (paths := written(directory)):
        report = compare(results)
        paths = [*write_tables(report, directory), *write_report(report, directory / "report")]
    print_paths(paths)
    return results


def _tell_failures(results: Results, selected: Selection, directory: Path) -> None:
    """Prints which of the chosen experiments are not done, and why; exit status 1 if there are any."""
    keys = {item.experiment.key for item in selected.chosen}
    bad = results.frame[results.frame["key"].isin(keys) & (results.frame["status"] != "done")]
    words = {trouble.key: trouble.message for trouble in results.evidence.troubles}
    for row in bad.itertuples():
        why = " ".join(words.get(str(row.key), "no record").split())[:300]
        place = f"{row.method}, sparsity {row.asked}, seed {row.seed}"
        record = directory / "records" / f"{row.key}.json"
        say(err, f"{row.status}: {place}: {why}; see {record}")
    finish(results)
    if len(bad):
        raise typer.Exit(1)
