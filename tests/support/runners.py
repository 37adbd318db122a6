"""Runners and commands in processes of their own, and the journal that they write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.places import COMMAND

RUNNER = Path(__file__).with_name("runner.py")
MARK = "LTH_BENCH_TEST_MARK"


@dataclass
class Runners:
    """Starts runners on run directories, and knows every process that comes from them.

    Each command is started behind `prefix`, with `environment` added to that of this process.
    """

    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, suite: Path, directory: Path, **limits: float) -> subprocess.Popen:
        """One runner with one worker, in the background."""
        command = [sys.executable, RUNNER, suite, directory, json.dumps(limits)]
        return self.popen(command)

    def command(self, *arguments) -> subprocess.Popen:
        """`lth-bench` in the background."""
        return self.popen([COMMAND, *arguments])

    def popen(self, command) -> subprocess.Popen:
        process = subprocess.Popen(
            [str(part) for part in (*self.prefix, *command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.environment, MARK: self.mark},
        )
        self.started.append(process)
        return process

    def processes(self) -> list[int]:
        """All that are alive, workers included."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(int(path.name))]

    def workers(self, launcher: int) -> list[int]:
        """The fork server that a launcher has started, and all that comes from it."""
        alive = self.processes()
        family = {launcher}
        while more := {pid for pid in alive if parent(pid) in family} - family:
            family |= more
        return sorted(family - {launcher})

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def gone(self, within: float = 60.0) -> bool:
        """Whether no process is left, after a moment to end in: one that is still importing looks around only then."""
        end = time.monotonic() + within
        while self.processes() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.processes()

    def close(self) -> None:
        for pid in self.processes():
            self.kill(pid, signal.SIGCONT)
            self.kill(pid)
        for process in self.started:
            process.wait()
            process.stdout.close()

    def _is_ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False
        return alive and f"{MARK}={self.mark}".encode() in environment


def parent(pid: int) -> int:
    """The number of the process that has started a process; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def journal(directory: Path) -> list[dict]:
    path = directory / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def published(directory: Path) -> list[str]:
    return [line["key"] for line in journal(directory) if line["event"] == "published"]


def published_twice(directory: Path) -> list[str]:
    keys = published(directory)
    return sorted({key for key in keys if keys.count(key) > 1})
