"""Observers as a third party might write them: one that writes lines, and some that go wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lth_bench import hookimpl
from lth_bench.storage.record import builtins
from support.places import ROOT

FAULTS = ("raises", "hangs", "leaves", "quits", "crashes")


@dataclass(frozen=True)
class Lines:
    """A file for each experiment, with a line for each event."""

    folder: str = ""

    def __call__(self, started):
        folder = started.folder("lines", self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        return File(folder / f"{started.key}.jsonl")


class File:
    def __init__(self, path):
        self.path = path
        path.write_text("")

    def _write(self, event):
        with self.path.open("a") as file:
            file.write(json.dumps(builtins(event)) + "\n")

    measured = pruned = finished = left = _write


@dataclass(frozen=True)
class Faulty:
    """Does at the first point what its name says."""

    how: str = ""
    delay: float = 0

    def __call__(self, started):
        return self

    def measured(self, point):
        time.sleep(self.delay)
        if self.how == "raises":
            raise ValueError("it cannot\nshow this")
        if self.how == "hangs":
            time.sleep(1000)
        if self.how == "leaves":
            sys.exit()
        if self.how == "quits":
            os._exit(0)
        if self.how == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)


@dataclass(frozen=True)
class Absent:
    """Needs what nobody has."""

    needs: ClassVar = {"no_such_tracker": "third-party[tracker]"}

    def __call__(self, started):
        return self


def events(path: Path) -> list[dict]:
    """What was told of an experiment."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def install(folder: Path) -> str:
    """Makes these observers known to processes that have the returned value as their PYTHONPATH."""
    about = folder / "trackers-1.0.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: trackers\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text("[lth_bench]\ntrackers = support.trackers\n")
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    return os.pathsep.join([str(folder), str(ROOT / "tests"), *before])


@hookimpl
def register_observers(register):
    register("lines", Lines)
    register("faulty", Faulty)
    register("absent", Absent)
