"""Training segments that were computed before are looked up: training is a pure function of what is hashed here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from lth_bench.errors import Busy, Damaged, Diverged, FileFault, Stopped
from lth_bench.experiments.experiment import without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.pruning.masks import kept
from lth_bench.storage.leases import Lease
from lth_bench.storage.source_hash import modules_hash
from lth_bench.storage.store import Store
from lth_bench.storage.tensors import State, pack, read_tensors, serialized
from lth_bench.training.monitor import Best, Measurement, Monitor
from lth_bench.training.numerics import numerics
from lth_bench.training.optimizers import make_optimizer
from lth_bench.training.purity import Plainness
from lth_bench.training.session import Session, Snapshot

PIECE = 0.5  # seconds of training between two looks at the clock
BRIEF = 50  # shorter than one part in so many of a recipe, only a segment from its beginning is stored


@dataclass
class Watch:
    """What a worker has to see to: a request to stop, signs of life, the leases on what is computed, checkpoints.

    `checkpoint_every` is in seconds.
    """

    checkpoint_every: float = 300.0
    stopping: bool = False
    activity: int = 0
    leases: list[Lease] = field(default_factory=list)

    def progress(self) -> None:
        """Hears of every tick and pass of a Session."""
        self.activity += 1


@dataclass(frozen=True)
class Segment:
    """What training from one step to another led to."""

    end: Snapshot
    measured: Monitor


@dataclass
class _Run:
    """Plain training with nothing in between: where it started, where the last segment ended that is stored, where it
    stands; the segments so far, and what was measured after them.
    """

    start: dict[str, Any]
    last: dict[str, Any]
    end: dict[str, Any]
    resets: int
    parts: list[str] = field(default_factory=list)
    measured: Monitor = field(default_factory=Monitor)


class Memory:
    """Trains a Session by looking up what it can and storing what it cannot; made for one Session.

    `about` holds what training depends on beside the Session's own state: the model and the data.
    """

    def __init__(self, store: Store, about: Mapping[str, Any], watch: Watch | None = None) -> None:
        self.store, self.about, self.watch = store, dict(about), watch or Watch()
        self._plainness: Plainness | None = None
        self._run: _Run | None = None

    def attach(self, session: Session) -> None:
        """Remembers the Session as it was made; one that was changed since is trained without being looked up."""
        self.about["network"] = modules_hash(frozenset(type(module).__module__ for module in session.model.modules()))
        self._plainness = Plainness(session)

    def train(self, session: Session, end: int) -> None:
        """Brings a session to step `end`. Raises Busy, Stopped or Diverged."""
        if not self._is_plain(session):
            self._run = None
            session.compute(end)
            return
        here, start, computed = _position(session), session.step, session.spent.steps_computed
        if self._run is None or (self._run.end, self._run.resets) != (here, session.monitor.resets):
            self._run = _Run(here, here, here, session.monitor.resets)
        run = self._run
        short, long = (self._key(session, position, end) for position in (run.last, run.start))
        try:
            segment = self.load(session, short) or self.load(session, long)
        except Diverged as error:
            session.spent.steps_looked_up += error.step - start
            raise
        if segment is None and _is_brief(session, run, end):
            self._train_briefly(session, run, end)
            return
        if segment is None:
            segment = self._obtain(session, run, (short, long), end)
        _arrive(session, segment, start)
        self.watch.progress()
        session.spent.steps_looked_up += end - start - (session.spent.steps_computed - computed)
        parts = self._parts([*run.parts, short], long)
        if parts is None:
            self._run = None
            return
        run.last = run.end = _position(session)
        run.parts, run.measured = parts, Monitor()

    def _train_briefly(self, session: Session, run: _Run, end: int) -> None:
        """Trains for so short a time that it is not worth a place in the store; the run goes on behind it."""
        if self.watch.stopping:
            raise Stopped(f"stopped at step {session.step}")
        start = session.step
        with self._apart(session) as measured:
            session.compute(end)
        session.monitor.extend(measured, after=start)
        session.charge_training(start)
        run.measured.extend(measured, after=start)
        run.end = _position(session)

    def _obtain(self, session: Session, run: _Run, keys: tuple[str, str], end: int) -> Segment:
        """Computes a segment while nobody else does, unless another has just finished it."""
        short, long = keys
        with self._claimed(keys):
            if found := self.load(session, short) or self.load(session, long):
                return found
            segment = self._compute(session, run, short, end)
            if self._is_plain(session):
                self.save(short, segment, run.last["step"])
                if long != short:
                    self._write_chain(long, [*run.parts, short])
            self.store.forget(short, "checkpoints")
            return segment

    def _is_plain(self, session: Session) -> bool:
        return self._plainness is not None and self._plainness.holds(session)

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
                if lease.held():
                    lease.finish()

    def _compute(self, session: Session, run: _Run, key: str, end: int) -> Segment:
        """Trains up to `end`, from the last checkpoint if there is one."""
        with self._apart(session) as measured:
            measured.extend(run.measured, after=run.last["step"])
            if checkpoint := self.load(session, key, "checkpoints"):
                session.restore(checkpoint.end)
                session.monitor = measured = checkpoint.measured
            try:
                self._advance(session, key, end)
            except Diverged as error:
                self._write_diverged(key, error)
                raise
            session.model.train()  # a measurement may have left something behind that training clears
            return Segment(session.snapshot(), measured)

    @contextmanager
    def _apart(self, session: Session) -> Iterator[Monitor]:
        """Inside, what is measured goes into a monitor of its own, and nothing is charged."""
        own, session.monitor = session.monitor, Monitor()
        events, session.ledger.events = session.ledger.events, []
        try:
            yield session.monitor
        finally:
            session.monitor, session.ledger.events = own, events

    def _advance(self, session: Session, key: str, end: int) -> None:
        """Trains in pieces of about PIECE seconds, and sees to what is due between them."""
        steps, saved = 1, time.monotonic()
        while session.step < end:
            started = time.monotonic()
            session.compute(min(end, session.step + steps))
            took = time.monotonic() - started
            steps = max(1, min(4 * steps, int(steps * PIECE / max(took, 1e-6))))
            due = time.monotonic() - saved > self.watch.checkpoint_every
            if session.step < end and (due or self.watch.stopping):
                session.model.train()
                if self._is_plain(session):
                    self.save(key, Segment(session.snapshot(), session.monitor), session.step, "checkpoints")
                saved = time.monotonic()
                if self.watch.stopping:
                    raise Stopped(f"stopped at step {session.step}")

    # -- what is stored ----------------------------------------------------------------------------------------------

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
        """The segments that lead from the start of the run to here: piece by piece, or those of the whole run.

        None if this was not stored, as it turned out to be not plain.
        """
        if last := self.store.read(short[-1]):
            return [*short[:-1], *(last["parts"] or short[-1:])]
        whole = self.store.read(long)
        return (whole["parts"] or [long]) if whole else None

    def load(self, session: Session, key: str, folder: str = "entries") -> Segment | None:
        """The segment of a key if all of it is there and sound. Raises Diverged if that is what it led to."""
        entry = self.store.read(key, folder)
        if entry is None:
            return None
        if entry["diverged"]:
            raise Diverged(entry["diverged"]["step"], entry["diverged"]["what"])
        if folder == "entries":
            self.store.used(key)
        if entry["parts"]:
            return self._look_up_chain(session, entry["parts"])
        objects: dict[str, State] = {}
        for digest in entry["objects"]:
            path = self.store.tensors(digest, key, folder)
            try:
                objects[digest] = read_tensors(path, digest)
            except Damaged:
                self.store.damaged(path)
                return None
            except FileFault:
                return None
        try:
            return self._segment(session, entry, objects)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.store.reject(key, folder)
            return None

    def _look_up_chain(self, session: Session, parts: list[str]) -> Segment | None:
        """The segment that others make up, one after the other."""
        measured, last = Monitor(), None
        for part in parts:
            entry = self.store.read(part)
            last = None if entry is None or entry["parts"] else self.load(session, part)
            if last is None:
                return None
            measured.extend(last.measured, after=measured.curve[-1].step if measured.curve else 0)
        return last and Segment(last.end, measured)

    def _segment(self, session: Session, entry: dict[str, Any], objects: dict[str, State]) -> Segment:
        """What an entry says, if it fits the network. Raises ValueError and the like if it does not."""
        wanted = {name: (value.shape, value.dtype) for name, value in session.model.state_dict().items()}
        for digest in {entry["state"], *(best["state"] for best in (entry["accurate"], entry["early_stop"]) if best)}:
            if {name: (value.shape, value.dtype) for name, value in objects[digest].items()} != wanted:
                raise ValueError(f"object {digest} does not fit the network")
        measured = Monitor()
        measured.curve = [Measurement(**point) for point in entry["curve"]]
        measured.accurate, measured.early_stop = (
            best and Best(Measurement(**best["measurement"]), objects[best["state"]])
            for best in (entry["accurate"], entry["early_stop"])
        )
        optimizer = _optimizer_state(session, objects[entry["optimizer"]])
        return Segment(Snapshot(entry["end"], objects[entry["state"]], optimizer), measured)

    def save(self, key: str, segment: Segment, start: int, folder: str = "entries") -> None:
        """Stores a segment that started at step `start`; `folder` is "checkpoints" for one that goes on."""
        measured = segment.measured

        def write(state: State) -> str:
            return self.store.write_tensors(serialized(state), key, folder)

        bests = {
            name: best and {"measurement": asdict(best.measurement), "state": write(best.state)}
            for name, best in (("accurate", measured.accurate), ("early_stop", measured.early_stop))
        }
        assert segment.end.optimizer is not None
        state, optimizer = write(segment.end.state), write(_flat(segment.end.optimizer))
        objects = sorted({state, optimizer, *(str(best["state"]) for best in bests.values() if best)})
        entry = {
            "start": start,
            "end": segment.end.step,
            "state": state,
            "optimizer": optimizer,
            "curve": [asdict(point) for point in measured.curve],
            **bests,
            "objects": objects,
            "parts": [],
            "diverged": None,
        }
        self.store.write(key, entry, folder)
        if folder == "checkpoints":
            self.store.clean_up(key, objects)

    def _write_chain(self, key: str, parts: list[str]) -> None:
        self.store.write(key, {"parts": parts, "objects": [], "diverged": None})

    def _write_diverged(self, key: str, error: Diverged) -> None:
        self.store.write(key, {"parts": [], "objects": [], "diverged": {"step": error.step, "what": error.what}})


def _arrive(session: Session, segment: Segment, start: int) -> None:
    """Makes a session as if it had computed the segment."""
    if session.step != segment.end.step:
        session.restore(segment.end)
    assert session.optimizer is not None
    for group in session.optimizer.param_groups:
        group["lr"] = session.schedule.rate(session.step - 1)
    session.monitor.extend(segment.measured, after=start)
    session.charge_training(start)


def _position(session: Session) -> dict[str, Any]:
    """Where a session stands: the clock, and hashes of weights, buffers, optimiser state and masks."""
    snapshot = session.snapshot()
    masks = {name: pack(mask) for name, mask in session.masks.items()}
    full = sum(kept(session.masks).values()) == sum(mask.numel() for mask in session.masks.values())
    groups = snapshot.optimizer["param_groups"] if snapshot.optimizer else []
    return {
        "step": snapshot.step,
        "state": sha256(serialized(snapshot.state)),
        "optimizer": sha256(serialized(_flat(snapshot.optimizer))) if snapshot.optimizer else None,
        "options": [{name: value for name, value in group.items() if name != "lr"} for group in groups],
        "masks": None if full else sha256(serialized(masks)),
        **({"channels": sha256(serialized(session.channels))} if session.channels else {}),
    }


def _flat(optimizer: dict[str, Any]) -> State:
    """The tensors of an optimiser's state by parameter number and name."""
    return {
        f"{number}/{name}": value
        for number, values in optimizer["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _optimizer_state(session: Session, tensors: State) -> dict[str, Any]:
    """An optimiser's state_dict made of its tensors, in the order of the parameters, with the options in force."""
    optimizer = session.optimizer or make_optimizer(session.recipe, session.model)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, kind = name.partition("/")
        state.setdefault(int(number), {})[kind] = value
    return {"state": dict(sorted(state.items())), "param_groups": optimizer.state_dict()["param_groups"]}


def _is_brief(session: Session, run: _Run, end: int) -> bool:
    """Whether what was trained since the last segment is so little work that it is not worth a place in the store."""
    last: int = run.last["step"]
    return last > 0 and end < session.total_steps and (end - last) * BRIEF < session.total_steps
