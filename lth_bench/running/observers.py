"""The observers of a run, each in a process of its own: nothing that happens to one of them harms the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread

from lth_bench.experiments.experiment import Choice
from lth_bench.running.messages import CannotGoOn, Idle, Message, Observe, Progress, Stop, Told
from lth_bench.running.processes import Died, Process
from lth_bench.running.standing import standing
from lth_bench.running.sweep import POLL, Sweep
from lth_bench.storage.events import Event, ExperimentFinished, ExperimentLeft, ExperimentStarted
from lth_bench.storage.record import Identity

Say = Callable[[str], None]

PATIENCE = 60.0
"""Seconds that an observer may take over one event; after that it is given up."""


class Observers:
    """All observers of a sweep; without any, nothing is done. `say` gets a sentence for each that is given up."""

    def __init__(self, sweep: Sweep, say: Say, patience: float = PATIENCE) -> None:
        self._directory = sweep.directory
        self._all = [_ObserverProcess(choice, sweep, say, patience) for choice in sweep.observers]

    @contextmanager
    def following(self, identity: Identity) -> Iterator[None]:
        """Tells of the start of an experiment, and of its record at the end, if it has got one by then."""
        self.tell(identity.key, ExperimentStarted(identity, str(self._directory)))
        try:
            yield
        finally:
            if self._all:
                record = standing(self._directory, identity.key).record
                self.tell(identity.key, ExperimentFinished(record) if record else ExperimentLeft())

    def tell(self, key: str, event: Event) -> None:
        """Passes an event on, without waiting for anybody to hear it."""
        for observer in self._all:
            observer.tell(Told(key, event))

    def close(self, is_hurried: Callable[[], bool]) -> None:
        """Waits until all is heard, as long as every observer reacts and nobody is in a hurry."""
        for observer in self._all:
            observer.tell(Stop())
        for observer in self._all:
            observer.close(is_hurried)


class _ObserverProcess:
    """An observer in its process, a thread that passes on what it is told, and one that hears how it gets on."""

    def __init__(self, choice: Choice, sweep: Sweep, say: Say, patience: float) -> None:
        self._name, self._directory, self._say, self._patience = choice.name, sweep.directory, say, patience
        self._process = Process(Observe(str(sweep.directory), choice), sweep.server)
        self._messages = SimpleQueue[Message | None]()
        self._sent = self._heard = 0
        self._busy_since = time.monotonic()
        self._sending = Thread(target=self._send, daemon=True)
        self._listening = Thread(target=self._listen, daemon=True)
        self._sending.start()
        self._listening.start()

    def tell(self, message: Told | Stop) -> None:
        if self._listening.is_alive():
            self._messages.put(message)

    def close(self, is_hurried: Callable[[], bool]) -> None:
        while self._listening.is_alive() and not is_hurried():
            self._listening.join(POLL)
        self._messages.put(None)
        self._process.kill()

    def _send(self) -> None:
        while (message := self._messages.get()) is not None:
            if self._sent == self._heard:
                self._busy_since = time.monotonic()
            self._sent += 1
            self._process.ask(message)

    def _listen(self) -> None:
        if fault := self._fault():
            again = f"'lth-bench observe {self._directory} {self._name}' shows what is finished"
            self._say(f"observer {self._name!r} is told no more: {fault}; the run goes on, and {again}")
            self._process.kill()

    def _fault(self) -> str:
        """Hears the process until it ends; returns what was wrong, or nothing."""
        while True:
            try:
                message = self._process.answer(POLL)
            except Died as died:
                return f"its process {died.how}; its output is in {self._process.log}"
            if isinstance(message, CannotGoOn):
                return message.message
            if isinstance(message, Idle):
                return ""
            if isinstance(message, Progress):
                self._heard, self._busy_since = message.activity, time.monotonic()
            elif self._sent > self._heard and time.monotonic() - self._busy_since > self._patience:
                return f"it did not react for {self._patience:g} s"
