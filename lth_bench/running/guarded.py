"""Some work, or the error that it ends in, as a record says it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import torch

from lth_bench.errors import DataError, DiskFault, Diverged, Interrupted, ModelError, Unsuitable
from lth_bench.running.outcomes import InvalidResult
from lth_bench.running.plugin_lines import plugin_line
from lth_bench.storage.record import RecordedError, Timing

LONGEST = 20_000  # characters of a message or traceback in a record
OUT_OF_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
)

T = TypeVar("T")


class NoTicket(Exception):
    """The base of a control has no ticket."""


KINDS: dict[type[BaseException], str] = {
    InvalidResult: "invalid",
    NoTicket: "no_ticket",
    Unsuitable: "unsuitable",
    DataError: "data",
    ModelError: "model",
}


def guarded(work: Callable[[], T]) -> tuple[T | RecordedError, Timing]:
    """The result of some work, or the error that it ends in; with its timing."""
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        result: T | RecordedError = work()
    except (Interrupted, DiskFault):
        raise
    except Diverged as error:
        result = RecordedError(kind="diverged", message=utf8(str(error)), step=error.step)
    except BaseException as error:
        result = _error(error)
    return result, Timing(started.isoformat(timespec="seconds"), time.perf_counter() - clock)


def _error(error: BaseException) -> RecordedError:
    return RecordedError(
        kind=_kind(error),
        message=utf8(message_of(error))[:LONGEST],
        traceback=utf8("".join(traceback.format_exception(error)))[-LONGEST:],
        exception=type(error).__name__,
        place=None if (line := plugin_line(error)) is None else utf8(line),
    )


def _kind(error: BaseException) -> str:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, (RuntimeError, OSError)) and any(words in message_of(error) for words in OUT_OF_MEMORY)
    ):
        return "oom"
    return KINDS.get(type(error), "plugin_error")


def message_of(error: BaseException) -> str:
    """The message of an exception; that of a plugin may fail even at this."""
    try:
        return str(error)
    except Exception:
        return "its message cannot be made"


def utf8(text: str) -> str:
    """A text with escapes for what UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()
