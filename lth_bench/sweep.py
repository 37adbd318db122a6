"""Runs what is missing from a run directory in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_bench.experiment import from_json
from lth_bench.records import read_record, record_path, write_record

Identity = dict[str, Any]
FINAL = ("done", "diverged")


@dataclass(frozen=True)
class Sweep:
    """A run directory and how to work on it; `tell(event, identity)` hears "start" and each status."""

    directory: Path
    data_root: Path | None
    device: str
    workers: int
    tell: Callable[[str, Identity], None]


def missing(directory: Path, identities: list[Identity]) -> list[Identity]:
    """The experiments without a final record; a failed one is tried again."""
    return [identity for identity in identities if status(directory, identity["key"]) not in FINAL]


def status(directory: Path, key: str) -> str:
    """The status in an experiment's record, or "missing"."""
    path = record_path(directory, key)
    return str(read_record(path)["status"]) if path.exists() else "missing"


def run_all(sweep: Sweep, identities: list[Identity]) -> None:
    """Runs the experiments; a control waits for its base."""
    queue = _Queue(identities)
    count = max(1, min(sweep.workers, len(identities)))
    with ThreadPoolExecutor(count) as pool:
        try:
            for served in [pool.submit(_serve, sweep, queue) for _ in range(count)]:
                served.result()
        except BaseException:
            queue.stop()
            raise


@dataclass
class _Queue:
    """Experiments not yet begun; hands out the first whose base is not still to come."""

    waiting: list[Identity]
    running: set[str] = field(default_factory=set)
    changed: threading.Condition = field(default_factory=threading.Condition)
    processes: set[Any] = field(default_factory=set)
    stopped: bool = False

    def take(self) -> Identity | None:
        with self.changed:
            while self.waiting:
                blocked = self.running | {identity["key"] for identity in self.waiting}
                for identity in self.waiting:
                    base = from_json(identity["experiment"]).base
                    if base is None or base.key not in blocked:
                        self.waiting.remove(identity)
                        self.running.add(identity["key"])
                        return identity
                self.changed.wait()
            return None

    def finish(self, identity: Identity) -> None:
        with self.changed:
            self.running.discard(identity["key"])
            self.changed.notify_all()

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.waiting.clear()
            for process in self.processes:
                process.terminate()
            self.changed.notify_all()


def _serve(sweep: Sweep, queue: _Queue) -> None:
    """Feeds one worker process, and replaces it when it dies."""
    worker = _Worker(sweep, queue)
    try:
        while (identity := queue.take()) is not None:
            try:
                sweep.tell("start", identity)
                sweep.tell(worker.run(identity), identity)
            finally:
                queue.finish(identity)
    finally:
        worker.close()


class _Worker:
    """A process that runs experiments; started when first needed."""

    def __init__(self, sweep: Sweep, queue: _Queue) -> None:
        self.sweep, self.queue = sweep, queue
        self.process: Any = None

    def run(self, identity: Identity) -> str:
        """The status of the experiment once its record is published."""
        if self.process is None:
            self._start()
        try:
            self.connection.send(identity)
            return str(self.connection.recv())
        except (EOFError, OSError):
            return self._lost(identity)

    def close(self) -> None:
        if self.process is not None:
            self.connection.close()
            self.process.join()
            self.queue.processes.discard(self.process)
            self.process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, self.sweep.directory, self.sweep.data_root, self.sweep.device)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        self.queue.processes.add(self.process)
        theirs.close()

    def _lost(self, identity: Identity) -> str:
        self.process.join()
        code, log = self.process.exitcode, self.sweep.directory / "logs" / f"worker-{self.process.pid}.log"
        self.close()
        if self.queue.stopped:
            return "stopped"
        message = f"the worker process ended with exit code {code} before the experiment did; its output is in {log}"
        error = {"kind": "lost", "message": message, "traceback": ""}
        write_record(self.sweep.directory, {**identity, "status": "failed", "error": error})
        return "failed"


def _work(*arguments: Any) -> None:
    from lth_bench.worker import work

    work(*arguments)


def default_workers() -> int:
    """One worker for every processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
