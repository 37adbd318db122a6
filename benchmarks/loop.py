"""Times the loop of a method's author: change the pruner, run the suite again, look.

A package with one pruner, and a suite on digits of three experiments that train for 54 steps each, a tenth of a second:
all the rest is start, checks, evaluation, tables, figures and page. Each round changes the pruner and measures a run
into a new directory (three experiments) and one into the same directory (the changed one). Checkouts take turns; each
but the first is compared with the first by the ratios of their runs in one round.

    python benchmarks/loop.py [CHECKOUT...] [--runs 5] [--no-report]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import Pairs, machine

HERE = Path(__file__).resolve().parents[1]
PRUNER = """
from dataclasses import dataclass

from lth_bench import Session, hookimpl


@dataclass(frozen=True)
class Mine:
    round: int

    def __call__(self, session: Session) -> None:
        start = session.snapshot()
        session.train(until=20)
        session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
        session.rewind(start)
        session.train()


@hookimpl
def register_pruners(register):
    register("mine", Mine)
"""
SUITE = """
title = "Mine"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = [0]
sparsities = [0.9]
recipe = "short"
pruners = [{ name = "dense", sparsities = [0.0] }, "snip", { name = "mine", arguments = { round = ROUND } }]

[recipes.short]
duration = "3ep"
batch_size = 64
optimizer = "adam"
learning_rate = 0.01
schedule = "cosine"
measure_every = "1ep"
"""
ABOUT = {
    "METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n",
    "entry_points.txt": "[lth_bench]\nmine = mine\n",
}
COMMAND = "import sys; from lth_bench.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Loop:
    """A checkout of lth-bench, and the folder in which somebody works on a pruner with it."""

    checkout: Path
    folder: Path

    def change(self, number: int) -> None:
        """Changes the pruner by its argument."""
        about = self.folder / "mine-0.1.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        for name, text in ABOUT.items():
            about.joinpath(name).write_text(text)
        self.folder.joinpath("mine.py").write_text(PRUNER)
        self.folder.joinpath("suite.toml").write_text(SUITE.replace("ROUND", str(number)))
        if not (plugins := self.folder / "lth_bench_plugins").exists():
            plugins.symlink_to(self.checkout / "plugins")

    def run(self, directory: str, more: list[str]) -> tuple[float, float]:
        """Seconds by the clock, and of all processors, of a run into this directory."""
        path = os.pathsep.join(map(str, (self.checkout, self.folder)))
        command = [sys.executable, "-P", "-c", COMMAND, "run", "suite.toml", "--out", directory, *more]
        started, before = time.perf_counter(), _processor_seconds()
        subprocess.run(
            command, cwd=self.folder, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - started, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", type=Path, nargs="*", default=[HERE], help="by default the one of this script")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-report", action="store_true", help="pass this on to `lth-bench run`")
    options = parser.parse_args()
    more = ["--no-report"] if options.no_report else []
    print(machine())
    times: dict[tuple[Path, str], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        loops = [Loop(path.resolve(), Path(folder, str(place))) for place, path in enumerate(options.checkouts)]
        for number in range(options.runs + 1):  # the first round writes compiled modules, and is not counted
            for loop in loops[:: 1 if number % 2 else -1]:
                loop.change(2 * number)
                first = loop.run(f"out-{number}", more)
                loop.change(2 * number + 1)
                again = loop.run(f"out-{number}", more)
                seconds = ", ".join(f"{clock:.1f} s ({processors:.1f})" for clock, processors in (first, again))
                print(f"{loop.checkout}: {seconds}", flush=True)
                if number:
                    times[loop.checkout, "a new directory"].append(first)
                    times[loop.checkout, "the same directory"].append(again)
    for (checkout, kind), runs in times.items():
        clock, processors = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{checkout}, {kind}: {clock:.1f} s, {processors:.1f} s of processors (medians of {len(runs)})")
    for line in ratios(times):
        print(line)


def ratios(times: Mapping[tuple[Path, str], Sequence[tuple[float, float]]]) -> Iterator[str]:
    """How the times of the first checkout relate to those of the others, round by round."""
    (first, _), *_ = times
    for (checkout, kind), others in times.items():
        if checkout != first:
            rounds = list(zip(times[first, kind], others, strict=True))
            for place, what in enumerate(("time", "processor time")):
                pairs = Pairs([(one[place], other[place]) for one, other in rounds])
                yield f"{first} beside {checkout}, {kind}, {what}: ratio {pairs}"


if __name__ == "__main__":
    main()
