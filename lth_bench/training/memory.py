"""Looks up training that was computed before: training is a pure function of the inputs hashed here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lth_bench.errors import Busy, Diverged, Stopped
from lth_bench.experiments.experiment import without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.pruning.masks import kept
from lth_bench.storage.leases import Lease
from lth_bench.storage.source_hash import modules_hash
from lth_bench.storage.store import Store
from lth_bench.storage.tensors import pack, serialized
from lth_bench.training.monitor import Monitor
from lth_bench.training.numerics import numerics
from lth_bench.training.purity import Purity
from lth_bench.training.segments import Segment, Segments, flat
from lth_bench.training.session import Session
from lth_bench.training.setup import Tell

PIECE = 0.5  # seconds of training between two looks at the clock
BRIEF = 50  # segments shorter than a recipe by this factor are stored only if they start at step 0


@dataclass
class Watch:
    """What training and the worker around it tell each other: a request to stop, signs of life, leases held.

    `checkpoint_every` is in seconds. `tell` passes on points of curves and prunings, where somebody listens.
    """

    checkpoint_every: float = 300.0
    stopping: bool = False
    activity: int = 0
    leases: list[Lease] = field(default_factory=list)
    tell: Tell | None = None

    def progress(self) -> None:
        """Counts the ticks and passes of a Session."""
        self.activity += 1


@dataclass
class _Stretch:
    """An unbroken stretch of plain training: positions of its start, of the end of the last stored segment, and of now.

    `parts` are the keys of its stored segments; `measured` is what was measured after the last of them.
    """

    start: dict[str, Any]
    last: dict[str, Any]
    end: dict[str, Any]
    resets: int
    parts: list[str] = field(default_factory=list)
    measured: Monitor = field(default_factory=Monitor)


class Memory:
    """Trains one Session: looks up the segments in the store, computes and stores the others.

    `about` describes the model and the data, on which training depends beside the Session's own state.
    """

    def __init__(self, store: Store, about: Mapping[str, Any], watch: Watch | None = None) -> None:
        self.store, self.segments = store, Segments(store)
        self.about, self.watch = dict(about), watch or Watch()
        self._purity: Purity | None = None
        self._stretch: _Stretch | None = None

    def attach(self, session: Session) -> None:
        """Remembers the Session as it was made; one that is changed later trains without being looked up."""
        self.about["network"] = modules_hash(frozenset(type(module).__module__ for module in session.model.modules()))
        self._purity = Purity(session)

    def train(self, session: Session, end: int) -> None:
        """Brings a session to step `end`. Raises Busy, Stopped or Diverged."""
        if not self._is_pure(session):
            self._stretch = None
            session.compute(end)
            return
        here, start, computed = _position(session), session.step, session.account.spent.steps_computed
        if self._stretch is None or (self._stretch.end, self._stretch.resets) != (here, session.course.monitor.resets):
            self._stretch = _Stretch(here, here, here, session.course.monitor.resets)
        stretch = self._stretch
        short, long = (self._key(session, position, end) for position in (stretch.last, stretch.start))
        try:
            segment = self.segments.load(session, short) or self.segments.load(session, long)
        except Diverged as error:
            session.account.spent.steps_looked_up += error.step - start
            raise
        if segment is None and _is_brief(session, stretch, end):
            self._train_briefly(session, stretch, end)
            return
        if segment is None:
            segment = self._obtain(session, stretch, (short, long), end)
        _arrive(session, segment, start)
        self.watch.progress()
        session.account.spent.steps_looked_up += end - start - (session.account.spent.steps_computed - computed)
        parts = self._parts([*stretch.parts, short], long)
        if parts is None:
            self._stretch = None
            return
        stretch.last = stretch.end = _position(session)
        stretch.parts, stretch.measured = parts, Monitor()

    def _train_briefly(self, session: Session, stretch: _Stretch, end: int) -> None:
        """Trains a segment too short to be worth a place in the store; the stretch goes on behind it."""
        if self.watch.stopping:
            raise Stopped(f"stopped at step {session.step}")
        start = session.step
        with self._apart(session) as measured:
            session.compute(end)
        session.course.monitor.extend(measured, after=start)
        session.account.trained(start)
        stretch.measured.extend(measured, after=start)
        stretch.end = _position(session)

    def _obtain(self, session: Session, stretch: _Stretch, keys: tuple[str, str], end: int) -> Segment:
        """Computes a segment while nobody else does, unless another has just finished it."""
        short, long = keys
        with self._claimed(keys):
            if found := self.segments.load(session, short) or self.segments.load(session, long):
                return found
            segment = self._compute(session, stretch, short, end)
            if self._is_pure(session):
                self.segments.save(short, segment, stretch.last["step"])
                if long != short:
                    self.segments.write_chain(long, [*stretch.parts, short])
            self.store.forget(short, "checkpoints")
            return segment

    def _is_pure(self, session: Session) -> bool:
        return self._purity is not None and self._purity.holds(session)

    @contextmanager
    def _claimed(self, keys: tuple[str, str]) -> Iterator[None]:
        held = self.store.claim(keys)
        if held is None:
            raise Busy(next((key for key in keys if self.store.busy(key)), keys[0]))
        self.watch.leases = held
        try:
            yield
        finally:
            self.watch.leases = []
            for lease in held:
                lease.finish()

    def _compute(self, session: Session, stretch: _Stretch, key: str, end: int) -> Segment:
        """Trains up to `end`, from the last checkpoint if there is one."""
        with self._apart(session) as measured:
            measured.extend(stretch.measured, after=stretch.last["step"])
            if checkpoint := self.segments.load(session, key, "checkpoints"):
                session.restore(checkpoint.end)
                session.course.monitor = measured = checkpoint.measured
                session.course.tell(measured.curve)
            try:
                self._advance(session, key, end)
            except Diverged as error:
                self.segments.write_diverged(key, error)
                raise
            session.model.train()  # clears what a measurement may have left in evaluation mode
            return Segment(session.snapshot(), measured)

    @contextmanager
    def _apart(self, session: Session) -> Iterator[Monitor]:
        """Inside, measurements go into a monitor of their own, and nothing is charged."""
        own, session.course.monitor = session.course.monitor, Monitor()
        try:
            with session.account.ledger.aside():
                yield session.course.monitor
        finally:
            session.course.monitor = own

    def _advance(self, session: Session, key: str, end: int) -> None:
        """Trains in pieces of about PIECE seconds; between them it writes checkpoints and hears requests to stop."""
        steps, saved = 1, time.monotonic()
        while session.step < end:
            started = time.monotonic()
            session.compute(min(end, session.step + steps))
            took = time.monotonic() - started
            steps = max(1, min(4 * steps, int(steps * PIECE / max(took, 1e-6))))
            due = time.monotonic() - saved > self.watch.checkpoint_every
            if session.step < end and (due or self.watch.stopping):
                session.model.train()
                if self._is_pure(session):
                    checkpoint = Segment(session.snapshot(), session.course.monitor)
                    self.segments.save(key, checkpoint, session.step, "checkpoints")
                saved = time.monotonic()
                if self.watch.stopping:
                    raise Stopped(f"stopped at step {session.step}")

    def _key(self, session: Session, position: dict[str, Any], end: int) -> str:
        inputs = {
            **self.about,
            "numerics": numerics(next(session.model.parameters()).device),
            "recipe": without_defaults(session.recipe),
            "seed": session.seed,
            "from": position,
            "to": end,
        }
        return sha256(canonical(inputs).encode())

    def _parts(self, short: list[str], long: str) -> list[str] | None:
        """The keys of the segments from the start of the stretch to here: piece by piece, or those of its whole.

        None if they were not stored because training turned out not to be plain.
        """
        if last := self.store.read(short[-1]):
            return [*short[:-1], *(last["parts"] or short[-1:])]
        whole = self.store.read(long)
        return (whole["parts"] or [long]) if whole else None


def _arrive(session: Session, segment: Segment, start: int) -> None:
    """Puts the session where it would be if it had computed the segment."""
    if session.step != segment.end.step:
        session.restore(segment.end)
    assert session.optimizer is not None
    for group in session.optimizer.param_groups:
        group["lr"] = session.schedule.rate(session.step - 1)
    session.course.monitor.extend(segment.measured, after=start)
    session.course.tell(segment.measured.curve)
    session.account.trained(start)


def _position(session: Session) -> dict[str, Any]:
    """The position of a session: the clock, and hashes of weights, buffers, optimiser state and masks."""
    snapshot = session.snapshot()
    masks = {name: pack(mask) for name, mask in session.masks.items()}
    full = sum(kept(session.masks).values()) == sum(mask.numel() for mask in session.masks.values())
    groups = snapshot.optimizer["param_groups"] if snapshot.optimizer else []
    return {
        "step": snapshot.step,
        "state": sha256(serialized(snapshot.state)),
        "optimizer": sha256(serialized(flat(snapshot.optimizer))) if snapshot.optimizer else None,
        "options": [{name: value for name, value in group.items() if name != "lr"} for group in groups],
        "masks": None if full else sha256(serialized(masks)),
        **({"channels": sha256(serialized(session.channels))} if session.channels else {}),
    }


def _is_brief(session: Session, stretch: _Stretch, end: int) -> bool:
    """Whether training since the last stored segment was too short to be worth a place in the store."""
    last: int = stretch.last["step"]
    return last > 0 and end < session.total_steps and (end - last) * BRIEF < session.total_steps
