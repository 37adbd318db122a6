"""A runner with one worker and limits of its own: `runner.py SUITE DIRECTORY LIMITS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.limits import Limits
from lth_bench.running.pool import WorkerPool
from lth_bench.running.status import missing
from lth_bench.running.supervisor import run_all
from lth_bench.running.sweep import Sweep
from lth_bench.storage.record import identity
from lth_bench.storage.records import write_plan


def main() -> None:
    suite, directory, limits = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    plugins = load_plugins()
    name, content = read_suite(suite, plugins)
    planned = plan(content, plugins)
    write_plan(directory, name, planned)
    todo = missing(directory, [identity(name, item) for item in planned])
    if todo:
        sweep = Sweep(directory, None, "cpu", directory / "store", Limits(**limits))
        run_all(sweep, sweep.queue(todo), WorkerPool(sweep, len(todo), 1), lambda *event: None)


if __name__ == "__main__":
    main()
