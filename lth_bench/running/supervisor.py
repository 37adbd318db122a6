"""Supervises worker processes until every experiment has its record."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

from lth_bench.errors import FileFault
from lth_bench.running.exchange import Exchange, TookTooLong
from lth_bench.running.messages import (
    Answer,
    CannotGoOn,
    Checkpointed,
    Ended,
    Evaluate,
    Idle,
    MustWait,
    Stop,
    Train,
    Trained,
)
from lth_bench.running.observers import Observers, Say
from lth_bench.running.pool import WorkerPool
from lth_bench.running.processes import Died, Process
from lth_bench.running.queue import Queue, Task, Tell
from lth_bench.running.sweep import POLL, Sweep
from lth_bench.storage import leases
from lth_bench.storage.events import Live
from lth_bench.storage.files import remove, tidy
from lth_bench.storage.record import Record, RecordedError, Timing, failed
from lth_bench.storage.records import outcome_path, outcomes


class TakenOver(Exception):
    """Another process has taken the lease on an experiment over."""


class Killed(Exception):
    """The sweep has to end at once."""


def run_all(sweep: Sweep, queue: Queue, pool: WorkerPool, tell: Tell, say: Say = print) -> None:
    """Works through a queue until it is empty or stopped. Raises the faults that workers cannot handle."""
    for folder in ("records", "tickets", "leases", "outcomes"):
        tidy(sweep.directory / folder)
    _remove_outcomes(sweep)
    observers = Observers(sweep, say)
    supervisors = [Supervisor(sweep, queue, tell, process, observers) for process in pool.processes]
    threads = [threading.Thread(target=supervisor.serve) for supervisor in supervisors]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(POLL)
    observers.close(lambda: queue.killed)
    for supervisor in supervisors:
        if supervisor.fault:
            raise supervisor.fault


def _remove_outcomes(sweep: Sweep) -> None:
    """Removes outcomes that killed workers left and nobody will evaluate."""
    claims = leases.find_all(sweep.directory / "leases")
    for key, generation in outcomes(sweep.directory):
        claim = claims.get(key)
        if not (claim and claim.generation == generation and claim.alive(sweep.limits.patience)):
            remove(outcome_path(sweep.directory, key, generation))


class Supervisor:
    """Takes one experiment after the other from claim to record: has a worker train and evaluate it, and publishes."""

    def __init__(self, sweep: Sweep, queue: Queue, tell: Tell, process: Process, observers: Observers) -> None:
        self.sweep, self.queue, self.tell, self.observers = sweep, queue, tell, observers
        self.process: Process | None = process
        self.fault: BaseException | None = None

    def serve(self) -> None:
        try:
            while task := self.queue.next(self.tell):
                self.tell("start", task.identity)
                with self.observers.following(task.identity):
                    end = self._attend(task)
                self.tell(end, task.identity)
        except BaseException as error:
            self.fault = None if isinstance(error, Killed) else error
            self.queue.stopping = True
        finally:
            self._dismiss()

    def _attend(self, task: Task) -> str:
        """Works on a task; returns how it ended: a status of its record, or why there is none."""
        try:
            answer = self._worked(task)
        except TakenOver:
            self.queue.give_back(task, "dropped")
            return "dropped"
        except BaseException:
            self.queue.give_back(task, "stopped")
            raise
        finally:
            with suppress(FileFault):  # the next run removes it
                for key, generation in outcomes(self.sweep.directory):
                    if key == task.key and generation <= task.lease.generation:
                        remove(outcome_path(self.sweep.directory, key, generation))
        if isinstance(answer, MustWait):
            self.queue.park(task, answer.segment, answer.spent)
            return "parked"
        if isinstance(answer, Checkpointed):
            self.queue.give_back(task, "stopped", answer.spent)
            return "stopped"
        return self._end(task, answer.record)

    def _worked(self, task: Task) -> MustWait | Checkpointed | Ended:
        """The answer to training or, once trained, to the evaluation."""
        identity, generation = task.identity, task.lease.generation
        answer = self._ask(task, Train(identity, generation, self.queue.spent(task)))
        if isinstance(answer, Trained):
            self._keep(task)
            answer = self._ask(task, Evaluate(identity, generation, answer))
        if isinstance(answer, CannotGoOn):
            raise FileFault(answer.message)
        assert isinstance(answer, MustWait | Checkpointed | Ended)
        return answer

    def _end(self, task: Task, record: Record) -> str:
        if record.error and record.error.kind in ("lost", "oom"):
            return self.queue.lose(task, record, record.error)
        return self.queue.publish(task, record)

    def _ask(self, task: Task, request: Train | Evaluate) -> Answer:
        """Asks the worker and waits for its answer; a worker that dies or takes too long makes a failure of it."""
        if self.process and self.process.ended:
            self._dismiss()
        process = self.process = self.process or self.sweep.worker()
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            return self._answer(process, request, task)
        except Died as died:
            message = f"{died}; its output is in {process.log}"
            error = RecordedError(kind="lost", message=message, traceback=process.printed(), killed=died.killed)
            if process.ended:
                self._dismiss()
        except TookTooLong as late:
            error = RecordedError(kind="timeout", message=str(late), traceback=process.where())
            self._dismiss()
        except (TakenOver, Killed):
            self._dismiss()
            raise
        timing = Timing(started.isoformat(timespec="seconds"), time.monotonic() - clock)
        return Ended(failed(task.identity, error, timing=timing))

    def _answer(self, process: Process, request: Train | Evaluate, task: Task) -> Answer:
        exchange = Exchange(request, self.sweep.limits)
        beaten, told = time.monotonic(), False
        process.ask(request)
        while True:
            try:
                message = process.answer(POLL)
            except Died:
                if exchange.answer is None:
                    raise
                self._dismiss()
                return exchange.answer
            if message is not None:
                exchange.hear(message)
            if isinstance(message, Live):
                self.observers.tell(task.key, message)
            if isinstance(message, Idle):
                if exchange.answer is None:
                    raise Died(message.code)
                return exchange.answer
            if self.queue.killed:
                raise Killed
            if self.queue.stopping and not told and exchange.answer is None:
                process.ask(Stop())
                told = True
            if time.monotonic() - beaten > self.sweep.limits.patience / 4:
                self._keep(task)
                beaten = time.monotonic()
            exchange.check_time()

    def _keep(self, task: Task) -> None:
        if not task.lease.beat():
            raise TakenOver

    def _dismiss(self) -> None:
        if self.process:
            self.process.kill()
            self.process = None
