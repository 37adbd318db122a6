"""Compares the workers of Slurm and of Ray with those of a run on this machine: the same experiments on two processors.

The clusters have two nodes of one processor each and are those of the tests (root and Debian; Slurm is installed). A
time is that from the first claim to the last record, and so without the start of the first worker. Runs alternate.

    python benchmarks/engines.py [--pairs 3] [--epochs 40] [--on slurm ray]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from measuring import Pairs, alone, machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import clusters

COMMAND = [sys.executable, "-m", "lth_bench.cli"]
SUITE = """
title = "A fleet"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = [0, 1, 2, 3]
sparsities = [0.5, 0.8, 0.9, 0.95]
recipe = "short"
pruners = ["magnitude", "snip", "random"]

[recipes.short]
duration = "EPOCHSep"
batch_size = 32
learning_rate = 0.05
momentum = 0.9
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--on", nargs="+", choices=["slurm", "ray"], default=["slurm", "ray"])
    options = parser.parse_args()
    alone()
    print(machine())
    for engine in options.on:
        with tempfile.TemporaryDirectory() as folder, cluster(engine, Path(folder)) as (space, choice):
            suite = Path(folder, "fleet.toml")
            suite.write_text(SUITE.replace("EPOCHS", str(options.epochs)))
            times = []
            for number in range(options.pairs):
                there = run(space, suite, Path(folder, f"there-{number}"), *choice)
                here = run(space, suite, Path(folder, f"here-{number}"), "--workers", "2")
                times.append((there, here))
                print(f"{engine} {there:.1f} s, local {here:.1f} s", flush=True)
            print(f"{engine}: ratio {Pairs(times)}", flush=True)


@contextmanager
def cluster(engine: str, folder: Path):
    """The namespace of a cluster, and the options that let a run use it."""
    (home := folder / engine).mkdir()
    if engine == "slurm":
        with clusters.slurm(home) as space:
            yield space, ["--on", "slurm", "--array", "2", "--time", "10m"]
    else:
        with clusters.ray(home) as (space, address, _):
            yield space, ["--on", "ray", "--address", address]


def run(space: clusters.Namespace, suite: Path, directory: Path, *options: str) -> float:
    """Seconds from the first claim to the last record."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert space.popen(*COMMAND, "run", suite, "--out", directory, "--no-report", *options, **silent).wait() == 0
    clusters.soon(lambda: len(lines(directory, "published")) == 48, within=600)
    return lines(directory, "published")[-1] - lines(directory, "claimed")[0]


def lines(directory: Path, event: str) -> list[float]:
    """When an event was noted, in order."""
    path = directory / "journal.jsonl"
    entries = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return sorted(entry["time"] for entry in entries if entry["event"] == event)


if __name__ == "__main__":
    main()
