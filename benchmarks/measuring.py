"""How these scripts measure: two sides in turn within one run, and the median of the ratios of pairs."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lth_bench.running.processes import ALLOCATOR
from lth_bench.running.worker import make_context


@dataclass(frozen=True)
class Pairs:
    """The seconds of two sides, measured in turn, as pairs."""

    times: Sequence[tuple[float, float]]

    @property
    def ratio(self) -> float:
        return statistics.median(one / other for one, other in self.times)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the ratios."""
        ratios, quarter = sorted(one / other for one, other in self.times), len(self.times) // 4
        return ratios[quarter], ratios[-1 - quarter]

    def medians(self) -> tuple[float, float]:
        one, other = zip(*self.times, strict=True)
        return statistics.median(one), statistics.median(other)

    def __str__(self) -> str:
        low, high = self.spread
        return f"{self.ratio:.3f} (median of {len(self.times)} pairs; half of them in {low:.3f} to {high:.3f})"


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(one: Callable[[], object], other: Callable[[], object], pairs: int) -> Pairs:
    """Runs each side once unmeasured, then measures pairs; the side that comes first alternates."""
    one(), other()
    times = []
    for number in range(pairs):
        if number % 2:
            second = seconds(other)
            times.append((seconds(one), second))
        else:
            times.append((seconds(one), seconds(other)))
    return Pairs(times)


def alone() -> None:
    """One thread, and everything else as in a worker; starts the script anew with what its C library needs to hear."""
    if not ALLOCATOR.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**ALLOCATOR, **os.environ})
    make_context(None, "cpu")


def machine() -> str:
    """A description of the machine and versions that were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{_processor()}, {os.cpu_count()} logical cores, {device}, torch {torch.__version__}"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
