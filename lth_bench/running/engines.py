"""What an engine is given: a run directory that waits for processes. An engine supplies them, and knows no results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Protocol

from msgspec import Struct

from lth_bench.errors import FileFault
from lth_bench.storage.files import publish
from lth_bench.storage.reading import names
from lth_bench.storage.record import builtins, decoder
from lth_bench.storage.records import decoded, read_record, record_path, recorded
from lth_bench.storage.sealed import publish_json

FAILED, UNUSABLE, TIME_OVER = 1, 2, 75
"""Exit statuses of `lth-bench work`: some experiments failed, nothing could be done, work is left for another try."""


class EngineError(Exception):
    """An engine that cannot supply processes; the sentence says what to do."""


class Job(Struct, frozen=True):
    """What an engine has asked a scheduler for: the scheduler's name for it, and how many `workers`."""

    engine: str
    name: str
    workers: int


class WorkEngine(Protocol):
    """Supplies processes that run `work.command()`.

    A frozen dataclass: its fields are the options of `lth-bench run --on`. If its attribute `waits` is true, the call
    returns when all of them have ended. One that notes jobs has a method `standing(job)`, which says in words how a job
    stands; "" once it has ended.
    """

    waits: bool

    def __call__(self, work: Work) -> None:
        """Raises EngineError."""


@dataclass(frozen=True)
class Work:
    """Experiments that wait in a run directory, its `directory` an absolute path, for `workers` processes if asked for.

    `longest` is how long an experiment may take, in seconds, as those did that were done there; 0 if nothing is known.
    `look` shows the progress, and may be called often.
    """

    directory: Path
    experiments: int
    workers: int | None
    longest: float
    look: Callable[[], None]

    def command(self, *options: str) -> list[str]:
        """The command line of one process, which ends when nothing is left to do; on this path, in this Python."""
        return [sys.executable, "-P", "-m", "lth_bench.cli", "work", str(self.directory), *options]

    def logs(self) -> Path:
        """The folder for what processes print; it exists."""
        folder = self.directory / "logs"
        folder.mkdir(exist_ok=True)
        return folder

    def keep(self, name: str, text: str) -> Path:
        """Writes a file into the directory's `jobs` folder; returns its path."""
        path = self.directory / "jobs" / name
        publish(path, text.encode())
        return path

    def note(self, job: Job) -> None:
        """Notes a job, for `lth-bench status` and for the next run."""
        publish_json(self.directory / "jobs" / f"{time_ns()}.json", builtins(job))


def noted(directory: Path) -> list[Job]:
    """The jobs that engines have noted in a run directory, oldest first; those that cannot be read are left out."""
    folder = directory / "jobs"
    found: list[Job] = []
    for name in names(folder):
        if name.endswith(".json") and not name.startswith("."):
            try:
                found.append(decoded(folder / name, _JOB, "job"))
            except FileFault:
                continue
    return found


def longest(directory: Path, keys: Iterable[str]) -> float:
    """Seconds of the longest of some experiments that are recorded in a directory, 0 if none is."""
    known, most = set(recorded(directory)), 0.0
    for key in known.intersection(keys):
        try:
            timing = read_record(record_path(directory, key)).timing
        except FileFault:
            continue
        most = max(most, timing.seconds if timing else 0.0)
    return most


_JOB = decoder(Job)
