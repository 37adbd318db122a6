"""What ends a sweep early: Ctrl-C, SIGTERM, and the end of its time, of which SIGUSR2 tells."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType

from lth_bench.running.queue import Queue

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
TIME_OVER = signal.SIGUSR2
CLOSING = 60.0  # seconds before the end of a sweep's time at which it begins to stop, if its time is long


@contextmanager
def stopping(queue: Queue, say: Callable[[str], None], time: float | None = None) -> Iterator[list[int]]:
    """Inside, the first signal asks the workers of a queue to stop at a checkpoint; the second ends them at once.

    The first comes by itself when `time`, in seconds, is nearly over. Yields the list of signals received.
    """
    received: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        received.append(number)
        queue.stopping = True
        queue.killed = len(received) > 1
        if len(received) == 1:
            why = "Time is nearly over" if number == TIME_OVER else "Stopping"
            again = " Press again to stop at once." if number == signal.SIGINT else ""
            say(f"{why}: experiments write a checkpoint, or finish where they cannot.{again}")

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    timer = None if time is None else Timer(time - min(CLOSING, time / 10), os.kill, (os.getpid(), TIME_OVER))
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield received
    finally:
        if timer:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
