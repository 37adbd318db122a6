"""Messages between the process that started a worker, the worker, and its child: one JSON object a line.

Readers skip every other line.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.hashing import canonical
from lth_bench.running.code import Fingerprint
from lth_bench.running.limits import Limits
from lth_bench.storage.events import Event, Live
from lth_bench.storage.lines import parsed
from lth_bench.storage.record import Curve, Environment, Identity, Pruning, Record, Timing, builtins, decoder
from lth_bench.storage.work import RecordedEvent
from lth_bench.training.ledger import Spent


class Settings(Struct, frozen=True, tag=True):
    """What a worker has to know before any request; `code` is that of all experiments as the run began.

    `weights` are the paths of files that models start from, by what identifies them; `plugins` is the folder of plugins
    that are single files. Only where experiments are `observed` are points of their curves and prunings sent.
    """

    directory: str
    data: str | None
    device: str
    store: str | None
    limits: Limits
    loaders: int
    plugins: str
    code: list[Fingerprint] = []
    weights: dict[str, str] = {}
    observed: bool = False


class Observe(Struct, frozen=True, tag=True):
    """Makes a worker the place of an observer of a run directory, in which it only hears what it is told."""

    directory: str
    observer: Choice


class Told(Struct, frozen=True, tag=True):
    """What an observer is told of the experiment with this key."""

    key: str
    event: Event


class MakeReady(Struct, frozen=True, tag=True):
    """Asks a worker to read the data of an experiment in advance."""

    identity: Identity


class Stop(Struct, frozen=True, tag=True):
    """Asks a child to end training at a checkpoint."""


class Check(Struct, frozen=True, tag=True):
    """Asks for the faults of experiments; with `room`, also how many of them may run at a time.

    Of those that are `finished`, the pruners are not called.
    """

    experiments: list[Experiment]
    room: bool
    finished: bool = False


class Train(Struct, frozen=True, tag=True):
    """Asks to train, as try number `generation` of an experiment on which earlier tries have `spent` steps."""

    identity: Identity
    generation: int
    spent: Spent


class BestStep(Struct, frozen=True):
    """The step at which a criterion was best; `censored` if that was the last measured one."""

    step: int
    censored: bool


class Facts(Struct, frozen=True):
    """The parts of an outcome that are not tensors: steps of its end and its ticket, best points, curve and so on.

    `elements` counts the numbers from which a layer's weights are computed, where the pruner left a parametrisation.
    """

    step: int
    ticket: int
    bests: dict[str, BestStep]
    curve: Curve
    prunings: list[Pruning]
    events: list[RecordedEvent]
    notes: dict[str, Any]
    elements: dict[str, int]


class Handed(Struct, frozen=True):
    """An outcome in a file: the hash of the file, the shapes of the masks in it, and the facts."""

    sha256: str
    shapes: dict[str, list[int]]
    facts: Facts


class Trained(Struct, frozen=True, tag=True):
    """The pruner has returned; its outcome is in a file."""

    handed: Handed
    environment: Environment
    timing: Timing


class Evaluate(Struct, frozen=True, tag=True):
    """Asks to evaluate an outcome."""

    identity: Identity
    generation: int
    trained: Trained


class Checked(Struct, frozen=True, tag=True):
    """The faults of experiments, and how many may run at a time; 0 if the request did not ask."""

    faults: list[str]
    room: int


class MustWait(Struct, frozen=True, tag=True):
    """The experiment waits for a segment that another worker computes."""

    segment: str
    spent: Spent


class Checkpointed(Struct, frozen=True, tag=True):
    """Training ended at a checkpoint, on request."""

    spent: Spent


class Ended(Struct, frozen=True, tag=True):
    """The experiment has its record."""

    record: Record


class CannotGoOn(Struct, frozen=True, tag=True):
    """The sweep cannot go on: a file could not be written, or the code has changed since it began."""

    message: str


class Began(Struct, frozen=True, tag=True):
    """A child with this process number works on the request."""

    pid: int


class Progress(Struct, frozen=True, tag=True):
    """A sign of life: a count that grows while the experiment progresses."""

    activity: int


class Idle(Struct, frozen=True, tag=True):
    """The child has ended, with or without an answer, with this exit code."""

    code: int


Request = Check | Train | Evaluate
Answer = Checked | Trained | MustWait | Checkpointed | Ended | CannotGoOn
Message = Settings | Observe | Told | Live | MakeReady | Stop | Request | Answer | Began | Progress | Idle


class Channel:
    """One end of a connection. An unfinished message does not harm the messages after it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._unread = b""
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        with self._sending:
            self.end.sendall(f"\n{canonical(builtins(message))}\n".encode())

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message, or None if none comes in `timeout` seconds; raises EOFError when the other end has gone."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                if (message := parsed(line, _MESSAGE)) is not None:
                    return message
            remaining = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self.end], [], [], remaining)[0]:
                return None
            piece = self.end.recv(1 << 16)
            if not piece:
                raise EOFError
            self._unread += piece


_MESSAGE: Decoder[Message] = decoder(Message)  # type: ignore[arg-type] # a union is no type for mypy
