"""Times leaderboards of 100,000 records, compared with parsing the same files by Python's json alone.

The records are variants of a published one: models × methods × sparsities × seeds.

    python benchmarks/tables.py [--models 10] [--methods 50] [--seeds 10] [--pairs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import Pairs, machine, seconds

from lth_bench.experiments.experiment import from_json
from lth_bench.storage.records import read_records, record_path
from lth_bench.storage.sealed import sealed

COMMAND = Path(sys.executable).with_name("lth-bench")
PUBLISHED = Path(__file__).parent.parent / "leaderboards" / "methods-mnist"
TARGETS = [round(1 - 0.8**number, 6) for number in range(1, 21)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--methods", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(Path(folder), record) for record in records(options.models, options.methods, options.seeds)]
        memory: list[int] = []
        times = []
        for _ in range(options.pairs + 1):
            ours = seconds(lambda: memory.append(leaderboard(Path(folder))))
            times.append((ours, seconds(lambda: [json.loads(path.read_bytes()) and None for path in paths])))
        pairs = Pairs(times[1:])  # the first pair reads files from the disk
        ours, theirs = pairs.medians()
        size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths):,} records of {size / len(paths):,.0f} bytes")
    print(f"leaderboards {ours:.1f} s, json alone {theirs:.1f} s, ratio {pairs}; {max(memory) / 1e9:.2f} GB a process")


def records(models: int, methods: int, seeds: int) -> Iterator[dict[str, Any]]:
    """Records of an IMP experiment for every cell, and of a dense one for every model and seed."""
    published = {record["label"]: record for record in read_records(PUBLISHED) if record["experiment"]["seed"] == 0}
    draw = random.Random(0)
    for model in range(models):
        for seed in range(seeds):
            yield changed(published["dense"], model, seed, 0.0, {}, "dense", draw.gauss(0.95, 0.01))
            for method in range(methods):
                for target in TARGETS:
                    accuracy = draw.gauss(0.9 - 0.001 * method - 0.1 * target, 0.01)
                    rate = {"rate": round(0.1 + method / 1000, 3)}
                    yield changed(published["IMP"], model, seed, target, rate, f"method {method}", accuracy)


def changed(
    record: dict[str, Any],
    model: int,
    seed: int,
    target: float,
    arguments: dict[str, float],
    label: str,
    accuracy: float,
) -> dict[str, Any]:
    experiment = {**record["experiment"], "seed": seed, "sparsity": target}
    experiment["model"] = {**experiment["model"], "name": f"model{model}"}
    experiment["pruner"] = {**experiment["pruner"], "arguments": arguments}
    test = {name: point and {**point, "accuracy": accuracy} for name, point in record["test"].items()}
    sparsity = {**record["sparsity"], "asked": target, "measured": target}
    key = from_json(experiment).key
    fields = {"key": key, "label": label, "experiment": experiment, "test": test, "sparsity": sparsity}
    return {**record, **fields}


def write(directory: Path, record: dict[str, Any]) -> Path:
    path = record_path(directory, record["key"])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sealed(record))
    return path


def leaderboard(directory: Path) -> int:
    """Makes the leaderboards; returns the memory peak of the largest process, in bytes."""
    command = [str(COMMAND), "leaderboard", str(directory), "--format", "md"]
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=silent)
    _, status, used = os.wait4(process, 0)
    assert not status
    return used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
