"""Engines are timed in turns."""

from __future__ import annotations

import time
from itertools import groupby

from lth_bench.speed.timing import LEAST, MOST, WARM, interleaved, speedup, spread


def turns(names):
    """The names of calls, of neighbours that are equal only one."""
    return [name for name, _ in groupby(names)]


def test_engines_take_turns_in_every_round():
    called = []
    calls = {name: lambda name=name: (called.append(name), time.sleep(0.001)) for name in "ABC"}
    times = interleaved(calls, 0.0)
    assert turns(called) == list("ABC") * (1 + LEAST)
    assert {name: len(figures) for name, figures in times.items()} == dict.fromkeys("ABC", LEAST)
    assert called[: WARM + 1] == ["A"] * (WARM + 1)


def test_the_first_calls_of_a_turn_which_find_the_caches_full_of_others_are_not_timed():
    cold = [0]

    def other():
        cold[0] = 3
        time.sleep(0.001)

    def own():
        time.sleep(0.03 if cold[0] > 0 else 0.001)
        cold[0] -= 1

    assert spread(interleaved({"other": other, "own": own}, 0.0)["own"]).upper < 0.01


def test_rounds_end_with_the_time():
    started = time.perf_counter()
    times = interleaved({"A": lambda: time.sleep(0.001), "B": lambda: None}, 0.3)
    assert LEAST < len(times["A"]) < MOST and time.perf_counter() - started < 3


def test_a_call_takes_as_long_as_it_takes():
    times = interleaved({"slow": lambda: time.sleep(0.01), "fast": lambda: time.sleep(0.002)}, 0.2)
    assert 0.01 <= spread(times["slow"]).median < 0.05
    assert speedup(times["slow"], times["fast"]).median > 2


def test_the_interval_of_a_speed_up_is_that_of_order_statistics():
    """Of nine quotients, the second and the second last cover the median with a probability of 1 - 2 × 10 / 512."""
    dense = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]
    found = speedup(dense, [1.0] * 9)
    assert (found.median, found.lower, found.upper) == (5.0, 2.0, 8.0)


def test_quartiles():
    found = spread([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (found.lower, found.median, found.upper) == (2.0, 3.0, 4.0)
