"""Compares a whole `lth-bench run` with the sum of its steps: the rest is start, evaluation, records, store and tables.

LeNet-300-100 on MNIST (--data), batches of 60, evaluated once an epoch, one worker: dense, random, SNIP and IMP of
three rounds. The sum is measured too: the same number of steps of the bare masked loop of `step.py`, in turn with runs.

    python benchmarks/run.py --data DIR [--epochs 8] [--pairs 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
from measuring import Pairs, alone, machine, seconds
from step import ADAM, EVERY, bare_block, make_session

from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.timm_models import register_models
from lth_bench.results.frame import load

EPOCHS = 8
COMMAND = Path(sys.executable).with_name("lth-bench")
SUITE = """
title = "A whole run"
models = ["lenet_300_100"]
datasets = ["mnist"]
seeds = [0]
sparsities = [0.488]
recipe = "adam"
pruners = [{ name = "dense", sparsities = [0.0] }, "random", "snip", "imp"]

[recipes.adam]
duration = "EPOCHSep"
batch_size = 60
optimizer = "adam"
learning_rate = 0.0012
measure_every = "1ep"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder in which MNIST/raw lies")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    alone()
    register_models(load_plugins().models.items)
    print(machine())
    session = make_session("lenet_300_100", (1, 28, 28), Recipe(EVERY, 60, measure_every=EVERY, **ADAM))
    block = bare_block(timm.create_model("lenet_300_100"), session, 100)
    times = []
    for _ in range(options.pairs):
        whole, steps = run(options.epochs, options.data)
        times.append((whole, seconds(partial(repeat, block, steps // 100))))
        print(f"{steps:,} steps: run {times[-1][0]:.1f} s, steps alone {times[-1][1]:.1f} s", flush=True)
    print(f"ratio {Pairs(times)}")


def run(epochs: int, data: Path) -> tuple[float, int]:
    """The seconds of a run, and the number of steps that it computed."""
    with tempfile.TemporaryDirectory() as folder:
        suite, directory = Path(folder, "whole.toml"), Path(folder, "out")
        suite.write_text(SUITE.replace("EPOCHS", str(epochs)))
        command = [COMMAND, "run", suite, "--out", directory, "--data", data, "--workers", "1"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started, load(directory).evidence.computed


def repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


if __name__ == "__main__":
    main()
