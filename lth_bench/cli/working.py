"""How commands let workers work: their fork server, the display of progress, and what Ctrl-C does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from lth_bench.cli.terminal import err, out, say

if TYPE_CHECKING:
    from lth_bench.running.pool import WorkerPool
    from lth_bench.running.processes import ForkServer
    from lth_bench.running.queue import Tell
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity


def fork_server() -> ForkServer:
    """A fork server that has begun to import, which takes as long as planning and longer."""
    from lth_bench.running.processes import ForkServer

    server = ForkServer()
    server.start()
    return server


def work(
    sweep: Sweep, todo: list[Identity], pool: WorkerPool, tell: Tell, kept: str, time: float | None = None
) -> None:
    """Runs a sweep; the first Ctrl-C or SIGTERM stops it at checkpoints, the second at once, saying what is `kept`.

    So does the end of its `time` in seconds, if that is limited.
    """
    from lth_bench.running import engines
    from lth_bench.running.interrupts import TIME_OVER, stopping
    from lth_bench.running.supervisor import run_all

    queue = sweep.queue(todo)
    with stopping(queue, _say, time) as received:
        run_all(sweep, queue, pool, tell, _say)
    if received:
        err.print(f"\nStopped; {kept}.", markup=False, soft_wrap=True)
        raise typer.Exit(engines.TIME_OVER if received[0] == TIME_OVER else 128 + received[0])


def _say(text: str) -> None:
    say(err, text)


def display(total: int) -> Any:
    """A context that shows the progress of so many experiments; gives the function to tell it."""
    from lth_bench.cli.display import bar, lines, notebook_bar

    if out.quiet:
        return notebook_bar(total)
    return bar(out, total) if out.is_terminal else lines(total)
