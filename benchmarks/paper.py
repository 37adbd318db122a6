"""Times the table of a LeNet paper: `lth-bench run`, compared with a conventional script that computes each cell alone.

Dense, random, one-shot magnitude, IMP with reset and with rewinding, and SNIP, at six sparsities, for one seed on MNIST
(--data). Both sides use two processes with one thread each and train for the same number of steps. The script takes so
long that a machine may change its speed meanwhile; so the harness runs before and after it, and the mean counts. The
script computes everything that the harness charges: an IMP of n rounds trains n + 1 times. Its processes stay alive
between cells and take the longest cells first, so that it loses no time by starting Python or by waiting.

    python benchmarks/paper.py --data DIR [--steps 400] [--pairs 1]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from conventional import LENET, Script, mnist
from measuring import Pairs, machine, seconds
from torch import Tensor, nn
from torch.utils.data import Dataset

from lth_bench.experiments.plugins import load_plugins
from lth_bench.models.timm_models import register_models

COMMAND = Path(sys.executable).with_name("lth-bench")
ROUNDS = (3, 7, 10, 13, 17, 21)
WORKERS = 2
Weights = dict[str, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder in which MNIST/raw lies")
    parser.add_argument("--steps", type=int, default=400, help="steps of a training")
    parser.add_argument("--pairs", type=int, default=1)
    options = parser.parse_args()
    print(machine())
    times = []
    with get_context("spawn").Pool(WORKERS, initializer=prepare, initargs=(options.data,)) as pool:
        pool.map(warm, range(WORKERS), chunksize=1)
        for _ in range(options.pairs):
            before = seconds(lambda: ours(options.steps, options.data))
            theirs = seconds(lambda: pool.map(partial(cell, options.steps), cells(), chunksize=1))
            after = seconds(lambda: ours(options.steps, options.data))
            print(f"ours {before:.1f} s, conventional {theirs:.1f} s, ours {after:.1f} s", flush=True)
            times.append((theirs, (before + after) / 2))
    print(f"{len(cells())} cells, {options.steps} steps a training: ratio {Pairs(times)}")


def ours(steps: int, data: Path) -> None:
    """Seconds of the whole command, in a directory of its own."""
    source = load_plugins().suites["paper-table"].read_text()
    changes = {'"digits"': '"mnist"', '"10ep"': f'"{steps}it"', '"1ep"': f'"{steps // 10}it"'}
    for old, new in changes.items():
        source = source.replace(old, new)
    source = source.replace(f'measure_every = "{steps // 10}it"', f'measure_every = "{steps}it"')
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "paper.toml")
        suite.write_text(source)
        command = [COMMAND, "run", suite, "--out", Path(folder, "out"), "--data", data, "--workers", str(WORKERS)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


# -- the conventional script -------------------------------------------------------------------------------------------


def cells() -> list[tuple[str, int]]:
    """Pairs of a method and its rounds, the longest first."""
    several = [(method, rounds) for method in ("reset", "rewound") for rounds in ROUNDS]
    one = [(method, rounds) for method in ("magnitude", "random", "snip") for rounds in ROUNDS]
    return [*sorted(several, key=lambda cell: -cell[1]), *one, ("dense", 0)]


_data: list[tuple[Dataset, Dataset]] = []


def prepare(folder: Path) -> None:
    torch.set_num_threads(1)
    register_models(load_plugins().models.items)
    _data.append(mnist(folder))


def warm(number: int) -> int:
    """Does nothing but show that a worker process is ready."""
    return os.getpid()


def cell(steps: int, place: tuple[str, int]) -> float:
    """The accuracy of a method's network with a share 0.8^rounds of its weights."""
    method, rounds = place
    script, early = masked_script({}), steps // 10
    start = state(script)
    if method in ("reset", "rewound"):
        if method == "rewound":
            script.train(early)
            start = state(script)
        length = steps - early if method == "rewound" else steps
        for number in range(1, rounds + 1):
            script.train(length)
            masks = kept({name: weight.abs() for name, weight in trained(script)}, 0.8**number)
            script.evaluate()
            script = masked_script(masks, start)
        script.train(length)
    elif method == "dense":
        script.train(steps)
    else:
        if method == "magnitude":
            script.train(steps)
            scores = {name: weight.abs() for name, weight in trained(script)}
        elif method == "random":
            scores = {name: torch.rand_like(weight) for name, weight in trained(script)}
        else:
            scores = sensitivities(script)
        script = masked_script(kept(scores, 0.8**rounds), start)
        script.train(steps)
    return script.evaluate()


def masked_script(masks: Weights, weights: Weights | None = None) -> Script:
    script = Script("lenet_300_100", _data[0], LENET, 0, masks)
    if weights:
        script.model.load_state_dict(weights)
    with torch.no_grad():
        for name, weight in script.weights.items():
            weight.mul_(script.masks[name])
    return script


def state(script: Script) -> Weights:
    return {name: value.clone() for name, value in script.model.state_dict().items()}


def trained(script: Script) -> list[tuple[str, Tensor]]:
    return [(name, weight.detach()) for name, weight in script.model.named_parameters() if weight.ndim > 1]


def sensitivities(script: Script) -> Weights:
    inputs, labels = next(iter(script.loader))
    nn.functional.cross_entropy(script.model(inputs), labels).backward()
    weights = [(name, weight) for name, weight in script.model.named_parameters() if weight.ndim > 1]
    return {name: (weight * weight.grad).abs().detach() for name, weight in weights}


def kept(scores: Weights, share: float) -> Weights:
    """Scores for magnitude pruning; pruned weights have a score of zero, and so stay pruned."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    threshold = flat.sort(descending=True).values[round(share * len(flat)) - 1]
    return {name: (score >= threshold).float() for name, score in scores.items()}


if __name__ == "__main__":
    main()
