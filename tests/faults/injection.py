"""The fault suite: every test injects one fault many times and notes how often something went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.run import run
from lth_bench.running.worker import make_context
from lth_bench.storage.records import identity, read_records, write_plan, write_record
from lth_bench.storage.store import Store

RUNNER = Path(__file__).with_name("runner.py")
COMMAND = Path(sys.executable).with_name("lth-bench")
MARK = "LTH_BENCH_TEST_MARK"

HEAD = """
title = "faults"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = {seeds}
sparsities = {sparsities}
recipe = "r"

[recipes.r]
duration = "{duration}"
batch_size = 60
learning_rate = {rate}
momentum = 0.9
measure_every = "1ep"
"""


@pytest.fixture(scope="session")
def long(request) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture
def tally(record_property):
    """Notes a row of the table of faults, and fails if something went wrong."""

    def note(fault: str, tries: int, bad: list, figure: str) -> None:
        record_property("fault", json.dumps([fault, tries, len(bad), figure]))
        assert not bad, bad[:5]

    return note


@dataclass
class Runners:
    """Starts runners on run directories, and knows every process that comes from them."""

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
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, MARK: self.mark},
        )
        self.started.append(process)
        return process

    def processes(self) -> list[int]:
        """All that are alive, workers included."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(int(path.name))]

    def workers(self, launcher: int) -> list[int]:
        """The processes that a launcher has started."""
        return [pid for pid in self.processes() if _parent(pid) == launcher]

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


@pytest.fixture
def runners() -> Iterator[Runners]:
    made = Runners()
    yield made
    made.close()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def write_suite(path: Path, pruners: str, **changes) -> Path:
    fields = {"seeds": [0], "sparsities": [0.5, 0.9], "duration": "3ep", "rate": 0.1, **changes}
    path.write_text(HEAD.format(**fields) + pruners)
    return path


def pruner(name: str, **fields) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items() if key != "arguments"]
    if arguments := fields.get("arguments"):
        lines.append("arguments = { " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in arguments.items()) + " }")
    return "\n".join(["", "[[pruners]]", f'name = "{name}"', *lines, ""])


def finish(path: Path, directory: Path) -> None:
    """Runs a suite in this process, as the worker processes would."""
    plugins = load_plugins()
    name, content = read_suite(str(path), plugins)
    planned = plan(content, plugins)
    write_plan(directory, name, planned)
    site = make_context(None, "cpu", Store(directory / "store"))
    for entry in (identity(name, item) for item in planned):
        assert write_record(directory, run(entry, directory, site))


def journal(directory: Path) -> list[dict]:
    path = directory / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def published_twice(directory: Path) -> list[str]:
    keys = [line["key"] for line in journal(directory) if line["event"] == "published"]
    return sorted({key for key in keys if keys.count(key) > 1})


def results(directory: Path) -> dict[str, dict]:
    """The records by key, without what may differ from one try to the next."""
    return {
        record["key"]: {name: value for name, value in record.items() if name not in ("timing", "checksum")}
        for record in read_records(directory)
    }
