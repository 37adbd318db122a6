"""One request to a worker and its answer, or the lack of one in time."""

from __future__ import annotations

import time

from lth_bench.running.limits import Limits
from lth_bench.running.messages import (
    Answer,
    Began,
    CannotGoOn,
    Checkpointed,
    Ended,
    Evaluate,
    Message,
    MustWait,
    Train,
    Trained,
)
from lth_bench.storage.record import OF_ANALYSES, OF_RESULTS, Record

STARTUP = 600.0  # seconds for imports and for reading data, before the limits of an experiment count


class TookTooLong(Exception):
    """An experiment that reached a limit of time."""


class Exchange:
    """Collects the answer to a request, and checks the limits of time."""

    def __init__(self, request: Train | Evaluate, limits: Limits) -> None:
        self.request, self.limits = request, limits
        self.answer: Answer | None = None
        self._begun = False
        self._started = self._moved = time.monotonic()

    def hear(self, message: Message) -> None:
        """Takes a message of the worker; each one is a sign of progress."""
        self._moved = time.monotonic()
        if isinstance(message, Began):
            self._started, self._begun = self._moved, True
        if isinstance(message, Answer) and _answers(self.request, message):
            self.answer = message

    def check_time(self) -> None:
        """Raises TookTooLong."""
        now, limits = time.monotonic(), self.limits
        if limits.time and now - self._started > limits.time + (0 if self._begun else STARTUP):
            raise TookTooLong(f"took longer than the limit of {limits.time:g} s")
        if now - self._moved > (limits.stall if self._begun else STARTUP):
            raise TookTooLong(f"showed no sign of progress for {now - self._moved:.0f} s")


def _answers(request: Train | Evaluate, message: Answer) -> bool:
    """Whether a message is a whole answer to a request; a plugin may have sent what it likes."""
    if isinstance(message, Ended):
        record, last = message.record, isinstance(request, Evaluate) or request.identity.analysis is not None
        return _is_whole(record) and (record.status != "done" or last)
    return isinstance(message, CannotGoOn) or (
        isinstance(request, Train) and isinstance(message, Trained | MustWait | Checkpointed)
    )


def _is_whole(record: Record) -> bool:
    if record.status != "done":
        return record.error is not None and record.timing is not None
    needed = OF_ANALYSES if record.analysis else OF_RESULTS
    return record.error is None and all(getattr(record, name) is not None for name in needed)
