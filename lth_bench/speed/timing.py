"""Timing in turns: A B C A B C …, so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

import scipy  # type: ignore[import-untyped]  # which imports its parts where they are first used

from lth_bench.storage.latency import Quartiles, Speedup

WARM = 3  # calls before the first turn
TURN = 0.01  # seconds that a turn is timed at least, after as many calls that only fill the caches
MOST_CALLS = 1000  # in a turn
LEAST, MOST = 7, 300  # rounds: with fewer than 6, a median has no interval of 95 %
LEVEL = 0.95

Call = Callable[[], object]


def interleaved(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """Seconds that each call takes, one figure for each of its turns; all have turns in every round.

    Rounds end when the time is over, but not before the seventh.
    """
    end = time.perf_counter() + seconds
    repeats = {name: _repeats(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    gc.disable()
    try:
        for number in range(MOST):
            if number >= LEAST and time.perf_counter() > end:
                break
            for name, call in calls.items():
                times[name].append(_turn(call, repeats[name]))
    finally:
        gc.enable()
    return times


def spread(times: Sequence[float]) -> Quartiles:
    """The quartiles of times."""
    return Quartiles(*quantiles(times, method="inclusive"))


def speedup(dense: Sequence[float], own: Sequence[float]) -> Speedup:
    """The median quotient of the times of each round, and its interval from order statistics, free of assumptions."""
    quotients = [slow / fast for slow, fast in zip(dense, own, strict=True)]
    interval = scipy.stats.quantile_test(quotients, p=0.5).confidence_interval(LEVEL)
    return Speedup(median(quotients), float(interval.low), float(interval.high))


def _repeats(call: Call) -> int:
    for _ in range(WARM - 1):
        call()
    return min(MOST_CALLS, math.ceil(TURN / max(_turn(call, 1), TURN / MOST_CALLS)))


def _turn(call: Call, repeats: int) -> float:
    for _ in range(repeats):
        call()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats
