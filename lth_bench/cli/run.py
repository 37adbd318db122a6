"""The command `lth-bench run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lth_bench.cli.arguments import DataRoot, Only, Output, SuiteName
from lth_bench.cli.selection import Selection, installed_plugins, select
from lth_bench.cli.terminal import err, finish, out, print_paths, refuse, say

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Planned
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.results.frame import Results
    from lth_bench.running.code import Code
    from lth_bench.running.limits import Limits
    from lth_bench.running.pool import WorkerPool
    from lth_bench.running.queue import Tell
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity


LONGEST_SUITE = 200  # bytes of a suite's name; a file name has 255, of which writing takes some


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def run(
    suite: SuiteName,
    directory: Output = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes; by default one a processor.")
    ] = None,
    data: DataRoot = None,
    device: Annotated[Device, typer.Option(help="Where networks are trained.")] = Device.auto,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch absent data sets into the folder of --data.")
    ] = False,
    loaders: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Processes per worker to read images that do not fit memory."),
    ] = 0,
    only: Only = None,
    redo: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Compute again the experiments for which this holds, and the controls on their tickets; what they had "
            "is moved into OUT/redone/. Columns as for --only.",
        ),
    ] = None,
    mix_code: Annotated[
        bool, typer.Option("--mix-code", help="Go on although code has changed since records were made.")
    ] = False,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="LTH_BENCH_STORE", help="Store of shared training; by default OUT/store."),
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Compute everything, share nothing.")] = False,
    time_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="End an experiment that takes longer, such as 90s, 10m, 2h.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="End an experiment that takes more memory, such as 8GB.")
    ] = None,
    stall_limit: Annotated[
        str, typer.Option(metavar="TIME", help="End an experiment without progress for so long.")
    ] = "30m",
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Print the leaderboard; write no tables, figures or report.")
    ] = False,
) -> None:
    """Run the missing experiments of a suite, then print its leaderboard."""
    from lth_bench.errors import DiskFault
    from lth_bench.running.code import Code
    from lth_bench.running.processes import ForkServer
    from lth_bench.running.status import missing
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import identity

    limits = _limits(time_limit, memory_limit, stall_limit)
    server = ForkServer()
    server.start()  # it imports for as long as planning takes, and longer
    plugins = installed_plugins()
    selected = select(suite, only, plugins, redo)
    directory = directory or selected.directory
    shared = None if no_store else store or directory / "store"
    identities = [identity(selected.suite, item) for item in selected.chosen]
    code = Code(plugins)
    if not mix_code:
        _refuse_changed(directory, identities, selected.redone, code)
    todo = missing(directory, identities, selected.redone)
    if todo:
        if faults := list(_place_faults([directory, *([shared] if shared else [])], selected.suite)):
            refuse(faults)
        if download:
            _download(plugins, selected.chosen, data)
        as_now = code.fingerprints(item.experiment for item in todo)
        sweep = Sweep(directory, data, device.value, shared, limits, loaders, as_now, server)
        preparing = None if no_report else Thread(target=_prepare_report, daemon=True)
        _run_missing(sweep, selected, todo, workers, preparing)
    else:
        server.stop()
        with suppress(DiskFault):  # a finished directory may be on a medium that cannot be written
            _write_plan(directory, selected)  # labels may be new
        out.print(f"{selected.suite}: all {len(identities)} experiments are already in {directory}/")
    results = _print_results(directory) if no_report else _report(directory)
    _tell_failures(results, {item.key for item in identities}, directory)


def _place_faults(folders: list[Path], suite: str) -> Iterator[str]:
    """Why nothing can be written into a run directory and its store, so far as a try tells."""
    from lth_bench.errors import DiskFault
    from lth_bench.storage.files import try_to_write

    ways = dict.fromkeys(path for folder in folders for path in (folder, *folder.parents))
    dangling = [path for path in ways if path.is_symlink() and not path.exists()]
    yield from (
        f"{path} is a link to {path.readlink()}, which is not there; make that folder, or give another --out"
        for path in dangling
    )
    if dangling:
        return
    try:
        for folder in folders:
            try_to_write(folder)
    except DiskFault as fault:
        yield str(fault)
    if (length := len(suite.encode())) > LONGEST_SUITE:
        yield f"the name of the suite has {length} bytes, at most {LONGEST_SUITE} fit a file name; rename its file"


def _refuse_changed(directory: Path, chosen: list[Identity], redone: frozenset[str], code: Code) -> None:
    """Ends the program if the code of these experiments is not that of records that would stay beside theirs."""
    from lth_bench.errors import Damaged
    from lth_bench.running.code import changes
    from lth_bench.storage.records import read_plan

    try:
        planned = read_plan(directory)
    except Damaged:  # set aside when the plan is written again
        planned = []
    known = {item.key: item for item in [*planned, *chosen] if item.key not in redone}
    if faults := changes(directory, known.values(), chosen, code):
        refuse(faults)


def _run_missing(
    sweep: Sweep, selected: Selection, todo: list[Identity], workers: int | None, preparing: Thread | None
) -> None:
    """Checks these experiments, then runs them on `workers` processes, or as many as there is room for.

    What the report needs is imported meanwhile.
    """
    from lth_bench.running.pool import WorkerPool
    from lth_bench.running.status import put_aside

    pool = WorkerPool(sweep, len(todo), workers)
    if preparing:
        preparing.start()
    try:
        if faults := pool.check(todo):
            refuse(faults)
        _write_plan(sweep.directory, selected)
        if count := put_aside(sweep.directory, selected.redone):
            out.print(f"{selected.suite}: {count} records are now in {sweep.directory}/redone/")
        count = len(pool.processes)
        crowd = f"{count} worker{'s' * (count > 1)}"
        what = f"{len(todo)} of {len(selected.chosen)} experiments to run on {crowd}"
        out.print(f"{selected.suite}: {what}, into {sweep.directory}/")
        with _display(len(todo)) as tell:
            _work(sweep, selected, todo, pool, tell)
        if preparing:
            preparing.join()
    finally:
        pool.dismiss()


def _write_plan(directory: Path, selected: Selection) -> None:
    """Adds a suite to the plan of a run directory, and copies its file there."""
    from lth_bench.storage.files import publish
    from lth_bench.storage.records import suite_copy, write_plan

    write_plan(directory, selected.suite, selected.planned, selected.methods)
    copy, text = suite_copy(directory, selected.suite), selected.path.read_bytes()
    if not copy.exists() or copy.read_bytes() != text:
        publish(copy, text)


def _limits(time: str | None, memory: str | None, stall: str) -> Limits:
    from lth_bench.running.limits import Limits, seconds, size

    try:
        return Limits(
            time=None if time is None else seconds(time),
            memory=None if memory is None else size(memory),
            stall=seconds(stall),
        )
    except ValueError as error:
        refuse([f"a limit cannot be read: {error}"])


def _work(sweep: Sweep, selected: Selection, todo: list[Identity], pool: WorkerPool, tell: Tell) -> None:
    """Runs a sweep; the first Ctrl-C or SIGTERM stops it at checkpoints, the second at once."""
    from lth_bench.running.interrupts import stopping
    from lth_bench.running.supervisor import run_all

    queue = sweep.queue(todo)
    with stopping(queue, lambda text: err.print(text, markup=False, soft_wrap=True)) as received:
        run_all(sweep, queue, pool, tell)
    if received:
        same = "the same command" + (" without --redo" if selected.redone else "")
        text = f"\nStopped; {sweep.directory}/ keeps what was finished, and {same} goes on from there."
        err.print(text, markup=False, soft_wrap=True)
        raise typer.Exit(128 + received[0])


def _download(plugins: Plugins, planned: list[Planned], root: Path | None) -> None:
    """Fetches the absent data sets of these experiments, where a plugin knows how."""
    from lth_bench.running.context import dataset_named

    if root is None:
        refuse(["--download needs a folder: give --data DIR or LTH_BENCH_DATA"])
    for entry in {str(item.experiment.dataset): item.experiment.dataset for item in planned}.values():
        fetch = dataset_named(plugins.datasets, entry).download
        if fetch is not None:
            out.print(f"fetching {entry.name} into {root}/", markup=False, soft_wrap=True)
            fetch(root)


def _display(total: int) -> Any:
    from lth_bench.cli.display import bar, lines

    return bar(out, total) if out.is_terminal else lines(total)


def _prepare_report() -> None:
    """Imports what the report needs."""
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


def _tell_failures(results: Results, keys: set[str], directory: Path) -> None:
    """Prints which of these experiments are not done, and why; exit status 1 if there are any."""
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
