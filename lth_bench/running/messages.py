"""Messages between the process that started a worker, the worker, and its child: one JSON object a line.

Whatever else comes through is passed over.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from lth_bench.experiments.experiment import Experiment
from lth_bench.hashing import canonical
from lth_bench.running.limits import Limits
from lth_bench.storage.lines import parsed
from lth_bench.storage.record import Curve, Environment, Identity, Record, RecordedEvent, Timing, builtins, decoder
from lth_bench.training.ledger import Spent


class Settings(Struct, frozen=True, tag=True):
    """What a worker has to know before any request."""

    directory: str
    data: str | None
    device: str
    store: str | None
    limits: Limits
    loaders: int


class MakeReady(Struct, frozen=True, tag=True):
    """Asks to read the data of an experiment."""

    identity: Identity


class Stop(Struct, frozen=True, tag=True):
    """Asks to end training at a checkpoint."""


class Check(Struct, frozen=True, tag=True):
    """Asks for the faults of experiments and, with `room`, for how many of them may run at a time."""

    experiments: list[Experiment]
    room: bool


class Train(Struct, frozen=True, tag=True):
    """Asks to train: try `generation` of an experiment, for which earlier tries have spent so much."""

    identity: Identity
    generation: int
    spent: Spent


class BestStep(Struct, frozen=True):
    """The step at which a criterion was best; `censored` if that was the last measured one."""

    step: int
    censored: bool


class Facts(Struct, frozen=True):
    """What an outcome holds beside tensors: its last step, that of its ticket, best points, curve, events and notes.

    `elements` counts the numbers that a layer's weights are computed from where the pruner left them computed.
    """

    step: int
    ticket: int
    bests: dict[str, BestStep]
    curve: Curve
    events: list[RecordedEvent]
    notes: dict[str, Any]
    elements: dict[str, int]


class Handed(Struct, frozen=True):
    """What reads an outcome from its file: the file's hash, the shapes of the masks, and the facts."""

    sha256: str
    shapes: dict[str, list[int]]
    facts: Facts


class Trained(Struct, frozen=True, tag=True):
    """A pruner has returned; what it left behind is handed over in a file."""

    handed: Handed
    environment: Environment
    timing: Timing


class Evaluate(Struct, frozen=True, tag=True):
    """Asks to evaluate what was trained."""

    identity: Identity
    generation: int
    trained: Trained


class Checked(Struct, frozen=True, tag=True):
    """The faults of experiments; how many may run at a time, 0 if that was not asked."""

    faults: list[str]
    room: int


class MustWait(Struct, frozen=True, tag=True):
    """The experiment has to wait for a segment that somebody else computes."""

    segment: str
    spent: Spent


class Checkpointed(Struct, frozen=True, tag=True):
    """Training ended at a checkpoint, as it was asked to."""

    spent: Spent


class Ended(Struct, frozen=True, tag=True):
    """The experiment has its record."""

    record: Record


class CannotWrite(Struct, frozen=True, tag=True):
    """A file could not be written; the sweep cannot go on."""

    message: str


class Began(Struct, frozen=True, tag=True):
    """A child with this process number works on the request."""

    pid: int


class Progress(Struct, frozen=True, tag=True):
    """A sign of life: how much was done so far, in no unit."""

    activity: int


class Idle(Struct, frozen=True, tag=True):
    """The child has ended with this exit code, whether it has answered or not."""

    code: int


Request = Check | Train | Evaluate
Answer = Checked | Trained | MustWait | Checkpointed | Ended | CannotWrite
Message = Settings | MakeReady | Stop | Request | Answer | Began | Progress | Idle


class Channel:
    """One end of a connection. A message that its sender did not finish harms none of those after it."""

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
