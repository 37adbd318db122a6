"""The command `lth-bench work`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import DataRoot, Device, MixCode, RunDirectory, StoreFolder, Until, Workers
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import err, out, refuse, say
from lth_bench.cli.working import display, fork_server
from lth_bench.cli.working import work as work_on

if TYPE_CHECKING:
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.running.orders import Order
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity


def work(
    directory: RunDirectory,
    workers: Workers = None,
    until: Until = None,
    data: DataRoot = None,
    device: Annotated[Device | None, typer.Option("--device", help="By default that of the run.")] = None,
    store: StoreFolder = None,
    mix_code: MixCode = False,
) -> None:
    """Work on what a run has planned in its directory, beside all others that do, until nothing is left.

    The exit status is 75 if time was over before.
    """
    from lth_bench.running.orders import joining, read_order, todo

    time, order = _seconds(until), read_order(directory)
    plugins = installed_plugins(directory=directory)
    if not mix_code:
        _refuse_other_code(plugins, order)
    if missing := todo(directory, order):
        sweep = joining(directory, order, fork_server(), data, device.value if device else None, store)
        _run(sweep, missing, workers, time)
    _tell(directory, order)


def _run(sweep: Sweep, missing: list[Identity], workers: int | None, time: float | None) -> None:
    from lth_bench.running.pool import WorkerPool

    pool = WorkerPool(sweep, len(missing), workers)
    try:
        if faults := pool.check(_one_of_each_kind(missing)):
            refuse(faults)
        count = len(pool.processes)
        crowd = f"{count} worker{'s' * (count > 1)}"
        out.print(f"{len(missing)} experiments left in {sweep.directory}/, {crowd} here", markup=False, soft_wrap=True)
        with display(len(missing)) as tell:
            kept = f"{sweep.directory}/ keeps what was finished, and any other worker goes on from there"
            work_on(sweep, missing, pool, tell, kept, time)
    finally:
        pool.dismiss()


def _one_of_each_kind(identities: list[Identity]) -> list[Identity]:
    """One experiment on each model and data set: all were checked when they were planned, the data only there."""
    kinds = {str((item.experiment.model, item.experiment.dataset)): item for item in identities}
    return list(kinds.values())


def _seconds(until: str | None) -> float | None:
    from lth_bench.running.limits import seconds

    try:
        return None if until is None else seconds(until)
    except ValueError as error:
        refuse([f"--until cannot be read: {error}"])


def _refuse_other_code(plugins: Plugins, order: Order) -> None:
    """Ends the program if results made here would not be those of the machine on which the run was started."""
    from lth_bench.running.code import Code
    from lth_bench.running.orders import differences

    if faults := [*differences(order), *Code(plugins).changed(order.settings.code)]:
        refuse(faults)


def _tell(directory: Path, order: Order) -> None:
    """Says how the ordered experiments ended; exit status 1 if some have no result."""
    from collections import Counter

    from lth_bench.running.standing import standing

    states = Counter(standing(directory, key).state for key in order.keys)
    words = ", ".join(f"{count} {state}" for state, count in states.items())
    say(out, f"{len(order.keys)} experiments: {words}")
    if states.keys() - {"done"}:
        say(err, f"see what failed with: lth-bench status {directory}")
        raise typer.Exit(1)
