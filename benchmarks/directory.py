"""Times reading a finished run directory: a second `run` on 504 experiments, and `status` on 10,080.

The directories hold the published records of the suite quickstart, repeated over more seeds.

    python benchmarks/directory.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lth_bench.experiments.experiment import Planned
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.storage.record import Record, builtins, identified, identity
from lth_bench.storage.records import read_records, record_path, write_plan
from lth_bench.storage.sealed import sealed

COMMAND = Path(sys.executable).with_name("lth-bench")
PUBLISHED = Path(__file__).parent.parent / "leaderboards" / "quickstart"
REPEATS = 5


def main() -> None:
    for seeds, arguments in ((12, ["run", "SUITE", "--out", "DIR"]), (240, ["status", "DIR"])):
        with tempfile.TemporaryDirectory() as folder:
            suite, directory = Path(folder, "quickstart.toml"), Path(folder, "out")
            count = fill(directory, suite, seeds)
            places = {"SUITE": suite, "DIR": directory}
            command = [COMMAND, *(str(places.get(word, word)) for word in arguments)]
            seconds = statistics.median(timed(command) for _ in range(REPEATS))
            print(f"{arguments[0]} on {count:,} finished experiments: {seconds:.2f} s")


def fill(directory: Path, suite: Path, seeds: int) -> int:
    """Writes a suite with this many seeds and a record for each of its experiments; returns the number of records."""
    plugins = load_plugins()
    source = plugins.suites["quickstart"].read_text()
    suite.write_text(source.replace("seeds = [0, 1, 2]", f"seeds = {list(range(seeds))}"))
    name, content = read_suite(str(suite), plugins)
    planned = plan(content, plugins)
    write_plan(directory, name, planned)
    published = {kind(record): record for record in read_records(PUBLISHED)}
    (directory / "records").mkdir()
    for item in planned:
        record = identified(published[kind(item)], identity(name, item))
        record_path(directory, record.key).write_bytes(sealed(builtins(record)))
    return len(planned)


def kind(item: Record | Planned) -> tuple:
    return item.label, item.experiment.model.name, item.experiment.sparsity


def timed(command: list) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
