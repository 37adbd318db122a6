"""Workers that tests look at from outside."""

from __future__ import annotations

import time

from lth_bench.running.processes import Process


def number(process: Process) -> int:
    """The process number of a worker, as soon as it is forked."""
    while process.worker.pid is None:
        assert process.worker.poll() is None, process.printed()
        time.sleep(0.02)
    return process.worker.pid
