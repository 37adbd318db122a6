"""Compares two simultaneous `lth-bench run` on one directory with one, each with one worker; checks for double work.

python benchmarks/runners.py [PAIRS]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from lth_bench.results.frame import load

COMMAND = Path(sys.executable).with_name("lth-bench")
SUITE = """
title = "Two runners"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = [0, 1, 2, 3]
sparsities = [0.5, 0.8, 0.9]
recipe = "short"

[recipes.short]
duration = "50ep"
batch_size = 60
optimizer = "adam"
learning_rate = 0.0012
measure_every = "5ep"
""" + "".join(f'\n[[pruners]]\nname = "{name}"\n' for name in ("imp", "magnitude", "random", "snip"))


def main() -> None:
    ratios = []
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        one, two = timed(1), timed(2)
        ratios.append(two / one)
        print(f"one runner {one:.1f} s, two runners {two:.1f} s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f}")


def timed(runners: int) -> float:
    """The seconds until this many runs, started at the same time, have finished a directory."""
    with tempfile.TemporaryDirectory() as folder:
        suite, directory = Path(folder, "suite.toml"), Path(folder, "out")
        suite.write_text(SUITE)
        command = [COMMAND, "run", suite, "--out", directory, "--workers", "1"]
        started = time.perf_counter()
        processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(runners)]
        assert not any(process.wait() for process in processes)
        seconds = time.perf_counter() - started
        check(directory)
        return seconds


def check(directory: Path) -> None:
    """Checks that every experiment was published once and no segment of training was computed twice."""
    lines = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    published = Counter(line["key"] for line in lines if line["event"] == "published")
    results = load(directory)
    assert set(published.values()) == {1} and len(published) == len(results.frame)
    entries = [json.loads(path.read_text()) for path in (directory / "store" / "entries").rglob("*.json")]
    once = sum(entry["end"] - entry["start"] for entry in entries if not entry["parts"])
    computed, charged = results.evidence.computed, results.evidence.charged
    assert computed == once
    print(f"  {len(published)} experiments, {computed:,} of {charged:,} steps computed, none twice", flush=True)


if __name__ == "__main__":
    main()
