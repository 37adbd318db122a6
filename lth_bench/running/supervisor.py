"""Looks after worker processes until every experiment has its record."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

from lth_bench.errors import FileFault
from lth_bench.running.messages import Message
from lth_bench.running.pool import WorkerPool
from lth_bench.running.processes import Died, Process
from lth_bench.running.queue import Queue, Record, Task, Tell
from lth_bench.running.sweep import POLL, Sweep
from lth_bench.storage import leases
from lth_bench.storage.files import names, remove, tidy
from lth_bench.storage.records import outcome_path
from lth_bench.storage.sealed import sealed
from lth_bench.training.ledger import Spent

FAILURES = {"failed": ("error", "timing"), "diverged": ("error", "timing"), "fault": ("message",)}
ANSWERS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "trained": ("handed", "environment", "timing"),
        "busy": ("segment", "spent"),
        "stopped": ("spent",),
        **FAILURES,
    },
    "evaluate": {"done": ("sparsity", "test", "ticket", "environment", "timing"), **FAILURES},
}
"""What a worker may answer to a task, and the fields that it then has."""
STARTUP = 600.0  # seconds for imports and for reading data, before the limits of an experiment count


class TookTooLong(Exception):
    """An experiment that reached a limit of time."""


class TakenOver(Exception):
    """The lease on an experiment is somebody else's by now."""


class Killed(Exception):
    """The sweep is to end at once."""


def run_all(sweep: Sweep, queue: Queue, pool: WorkerPool, tell: Tell) -> None:
    """Works through a queue until nothing is left to do, or it says stop. Raises what a worker cannot deal with."""
    for folder in ("records", "tickets", "leases", "outcomes"):
        tidy(sweep.directory / folder)
    _remove_outcomes(sweep)
    supervisors = [Supervisor(sweep, queue, tell, process) for process in pool.processes]
    threads = [threading.Thread(target=supervisor.serve) for supervisor in supervisors]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(POLL)
    for supervisor in supervisors:
        if supervisor.fault:
            raise supervisor.fault


def _remove_outcomes(sweep: Sweep) -> None:
    """Removes what killed workers have handed over and nobody takes any more."""
    claims = leases.find_all(sweep.directory / "leases")
    for name in names(sweep.directory / "outcomes"):
        key, _, generation = name.removesuffix(".safetensors").partition(".")
        claim = claims.get(key)
        if not (claim and str(claim.generation) == generation and claim.alive(sweep.limits.patience)):
            remove(sweep.directory / "outcomes" / name)


class Supervisor:
    """Sees one experiment after the other through: claims it, has it trained and evaluated, publishes its record."""

    def __init__(self, sweep: Sweep, queue: Queue, tell: Tell, process: Process) -> None:
        self.sweep, self.queue, self.tell = sweep, queue, tell
        self.process: Process | None = process
        self.fault: BaseException | None = None

    def serve(self) -> None:
        try:
            while task := self.queue.next(self.tell):
                self.tell("start", task.identity)
                self.tell(self._attend(task), task.identity)
        except BaseException as error:
            self.fault = None if isinstance(error, Killed) else error
            self.queue.stopping = True
        finally:
            self._dismiss()

    def _attend(self, task: Task) -> str:
        """Works on a task; returns how that ended."""
        try:
            answer = self._ask(task, {"task": "train", "spent": self.queue.spent(task)})
            if answer["status"] == "busy":
                self.queue.park(task, answer["segment"], answer["spent"])
                return "parked"
            if answer["status"] == "stopped":
                self.queue.give_back(task, "stopped", answer["spent"])
                return "stopped"
            if answer["status"] == "trained":
                self._keep(task)
                answer = self._ask(task, {"task": "evaluate", "trained": answer})
        except (TakenOver, Killed) as error:
            self.queue.give_back(task, "dropped" if isinstance(error, TakenOver) else "stopped")
            if isinstance(error, Killed):
                raise
            return "dropped"
        except BaseException:
            self.queue.give_back(task, "stopped")
            raise
        finally:
            for generation in range(1, task.lease.generation + 1):
                remove(outcome_path(self.sweep.directory, task.key, generation))
        if answer["status"] == "failed" and answer["error"]["kind"] in ("lost", "oom"):
            return self.queue.lose(task, answer)
        return self.queue.publish(task, answer)

    def _ask(self, task: Task, request: Message) -> Record:
        """Asks the worker and waits for its answer, or for the failure that takes the place of one."""
        if self.process and self.process.ended:
            self._dismiss()
        process = self.process = self.process or Process(self.sweep.settings())
        request = {**request, "identity": task.identity, "generation": task.lease.generation}
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            answer = self._answer(process, request, task)
        except Died as error:
            message = f"{error}; its output is in {process.log}"
            answer = _failure("lost", message, process.printed(), killed=error.killed)
            if process.ended:
                self._dismiss()
        except TookTooLong as error:
            answer = _failure("timeout", str(error), process.where())
            self._dismiss()
        except (TakenOver, Killed):
            self._dismiss()
            raise
        if answer["status"] == "fault":
            raise FileFault(answer["message"])
        timing = {"started": started.isoformat(timespec="seconds"), "seconds": time.monotonic() - clock}
        return {"timing": timing, **answer}

    def _answer(self, process: Process, request: Message, task: Task) -> Record:
        limits, started = self.sweep.limits, time.monotonic()
        beaten = moved = started
        answer: Record | None = None
        told = begun = False
        process.ask(request)
        while True:
            try:
                message = process.answer(POLL)
            except Died:
                if answer is None:
                    raise
                self._dismiss()
                return answer
            now = time.monotonic()
            if message:
                moved, started = now, (now if "began" in message else started)
                begun = begun or "began" in message
                answer = message if _is_answer(message, request["task"]) else answer
            if message and "idle" in message:
                if answer is None:
                    raise Died(message["idle"])
                return answer
            if self.queue.killed:
                raise Killed
            if self.queue.stopping and not told and answer is None:
                process.ask({"stop": True})
                told = True
            if now - beaten > limits.patience / 4:
                self._keep(task)
                beaten = now
            if limits.time and now - started > limits.time + (0 if begun else STARTUP):
                raise TookTooLong(f"took longer than the limit of {limits.time:g} s")
            if now - moved > (limits.stall if begun else STARTUP):
                raise TookTooLong(f"showed no sign of progress for {now - moved:.0f} s")

    def _keep(self, task: Task) -> None:
        if not task.lease.beat():
            raise TakenOver

    def _dismiss(self) -> None:
        if self.process:
            self.process.kill()
            self.process = None


def _is_answer(message: Message, task: str) -> bool:
    """Whether a message is a whole answer, and can be written down; a plugin may have sent what it likes."""
    fields = ANSWERS[task].get(str(message.get("status")))
    error = message.get("error", {"kind": "", "message": ""})
    try:
        sealed(message)
        told = isinstance(error["kind"], str) and isinstance(error["message"], str)
        counted = all(isinstance(steps, int) for steps in vars(Spent(**message.get("spent", {}))).values())
    except (ValueError, KeyError, TypeError):
        return False
    return fields is not None and all(name in message for name in fields) and told and counted


def _failure(kind: str, message: str, trace: str, **more: Any) -> Record:
    return {"status": "failed", "error": {"kind": kind, "message": message, "traceback": trace, **more}}
