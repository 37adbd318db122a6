"""What Ctrl-C and SIGTERM do to a sweep."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from lth_bench.running.queue import Queue


@contextmanager
def stopping(queue: Queue, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Inside, the first signal asks the workers of a queue to stop at a checkpoint; the second ends them at once.

    Yields the list of signals received.
    """
    received: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        received.append(number)
        queue.stopping = True
        queue.killed = len(received) > 1
        if len(received) == 1:
            say("Stopping: experiments write a checkpoint, or finish where they cannot. Press again to stop at once.")

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
