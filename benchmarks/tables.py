"""Times leaderboards of 100,000 records, compared with parsing the same files by Python's json alone.

The records are variants of a published one: models × methods × sparsities × seeds.

    python benchmarks/tables.py [--models 10] [--methods 50] [--seeds 10] [--pairs 3]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measuring import Pairs, machine, seconds
from msgspec import structs

from lth_bench.experiments.experiment import Experiment
from lth_bench.storage.record import Evaluation, Record, builtins
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


def records(models: int, methods: int, seeds: int) -> Iterator[Record]:
    """The record of an IMP experiment for every cell, and that of a dense one for every model and seed."""
    known = {record.label: record for record in read_records(PUBLISHED) if record.experiment.seed == 0}
    draw = random.Random(0)
    for model in range(models):
        for seed in range(seeds):
            dense = of_model(known["dense"].experiment, model, seed)
            yield changed(known["dense"], dense, "dense", draw.gauss(0.95, 0.01))
            for method in range(methods):
                base = of_model(known["IMP"].experiment, model, seed)
                pruner = dataclasses.replace(base.pruner, arguments={"rate": round(0.1 + method / 1000, 3)})
                for target in TARGETS:
                    accuracy = draw.gauss(0.9 - 0.001 * method - 0.1 * target, 0.01)
                    experiment = dataclasses.replace(base, pruner=pruner, sparsity=target)
                    yield changed(known["IMP"], experiment, f"method {method}", accuracy)


def of_model(experiment: Experiment, model: int, seed: int) -> Experiment:
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, name=f"model{model}"), seed=seed)


def changed(record: Record, experiment: Experiment, label: str, accuracy: float) -> Record:
    """A published record as that of another experiment, with another accuracy."""
    points = {name: getattr(record.test, name) for name in Evaluation.__struct_fields__}
    test = {name: point and structs.replace(point, accuracy=accuracy) for name, point in points.items()}
    sparsity = structs.replace(record.sparsity, asked=experiment.sparsity, measured=experiment.sparsity)
    fields = {"key": experiment.key, "label": label, "experiment": experiment}
    return structs.replace(record, **fields, test=Evaluation(**test), sparsity=sparsity)


def write(directory: Path, record: Record) -> Path:
    path = record_path(directory, record.key)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sealed(builtins(record)))
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
