"""Checks that time is linear in the number of experiments, with 1, 2, 4 and 8 times as many.

Each run is a whole `lth-bench run` of one-shot pruners on digits with two workers, into a directory of its own, over
more and more seeds. A line fitted to the times gives the cost of a run and of an experiment, and the deviations from
it. The time of a plan of 100,000 experiments is measured too.

    python benchmarks/scaling.py [--seeds 8] [--pairs 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import machine, seconds

COMMAND = Path(sys.executable).with_name("lth-bench")
TIMES = (1, 2, 4, 8)
SUITE = """
title = "More and more"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = SEEDS
sparsities = [0.5, 0.8, 0.9]
recipe = "short"
pruners = ["random", "snip", "synflow"]

[recipes.short]
duration = "20ep"
batch_size = 60
optimizer = "adam"
learning_rate = 0.0012
measure_every = "5ep"
"""
EXPERIMENTS = 9  # a seed
PLAN = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="seeds of the smallest run")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each size")
    options = parser.parse_args()
    print(machine())
    counts = [options.seeds * times for times in TIMES]
    runs = [[run(count) for count in counts] for _ in range(options.pairs)]
    took = [statistics.median(times) for times in zip(*runs, strict=True)]
    each, start = np.polyfit(counts, took, 1)
    for count, time in zip(counts, took, strict=True):
        line = start + each * count
        print(f"{EXPERIMENTS * count:>5} experiments: {time:6.1f} s, {time / line - 1:+.1%} beside the line")
    print(f"a line: {start:.1f} s and {1000 * each / EXPERIMENTS:.0f} ms an experiment")
    duration, memory = plan(-(-PLAN // EXPERIMENTS))
    print(f"a plan of {PLAN:,} experiments: {duration:.1f} s, {memory / 1e9:.2f} GB")


def run(seeds: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [COMMAND, "run", suite(folder, seeds), "--out", Path(folder, "out"), "--workers", "2"]
        return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def plan(seeds: int) -> tuple[float, int]:
    """The seconds of `lth-bench plan`, and its peak of memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(COMMAND), "plan", str(suite(folder, seeds))]
        silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        used = []
        took = seconds(
            lambda: used.extend(os.wait4(os.posix_spawn(command[0], command, os.environ, file_actions=silent), 0))
        )
        assert used[1] == 0
        return took, used[2].ru_maxrss * 1024


def suite(folder: str, seeds: int) -> Path:
    path = Path(folder, "more.toml")
    path.write_text(SUITE.replace("SEEDS", str(list(range(seeds)))))
    return path


if __name__ == "__main__":
    main()
