"""The experiments to run in a run directory: claimed by lease, and recorded by the first who publishes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, structs

from lth_bench.errors import DiskFault
from lth_bench.running.standing import fingerprint, standing
from lth_bench.storage import leases
from lth_bench.storage.files import append, move
from lth_bench.storage.leases import Lease
from lth_bench.storage.lines import parsed
from lth_bench.storage.reading import added
from lth_bench.storage.record import Identity, Record, RecordedError, identified
from lth_bench.storage.records import record_path, recorded, write_record
from lth_bench.storage.store import Store
from lth_bench.training.ledger import Spent

Tell = Callable[[str, Identity], None]

LOOK = 0.2  # seconds between two searches for an experiment
LOSSES = 3  # after so many losses an experiment is not tried again
KILLS = 10  # the same for losses to a signal from outside, by a person or a system short of memory


@dataclass(frozen=True)
class Task:
    """An experiment that this process has claimed."""

    identity: Identity
    lease: Lease

    @property
    def key(self) -> str:
        return self.identity.key


class Entry(Struct, frozen=True):
    """The fields of a line of the journal that are read back."""

    event: str
    key: str
    steps_computed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class Queue:
    """Hands out experiments in order: seeds breadth-first, and what a control waits for before the rest of its seed.

    Higher sparsities first: they train longest, and other experiments reuse their segments. An experiment that is
    parked after it looked up training goes behind one seed more each time: the segment it waits for is often the first
    of many that another experiment computes, and to come that far again takes time.

    Several processes may have queues on the same directory; they share nothing but its files.
    """

    def __init__(self, directory: Path, identities: Iterable[Identity], store: Store | None, patience: float) -> None:
        self.directory, self.store, self.patience = directory, store, patience
        self.leases, self.journal = directory / "leases", directory / "journal.jsonl"
        self.stopping = self.killed = False
        self._todo = {identity.key: identity for identity in ordered(list(identities))}
        seeds = list(dict.fromkeys(identity.experiment.seed for identity in self._todo.values()))
        marks = ((key, fingerprint(standing(directory, key).usable())) for key in self._todo)
        self._again = {key: mark for key, mark in marks if mark is not None}
        self._bases = {key: base.key for key, identity in self._todo.items() if (base := identity.experiment.base)}
        self._places = {key: seeds.index(identity.experiment.seed) for key, identity in self._todo.items()}
        self._waits: dict[str, str] = {}
        self._spent: dict[str, int] = {}
        self._read = 0  # bytes of the journal
        self._mine: set[str] = set()
        self._lock = threading.RLock()
        self._clear_leases()

    def next(self, tell: Tell) -> Task | None:
        """Claims the next experiment; waits while others work on all that remain. None when all have their record."""
        while not self.stopping:
            with self._lock:
                self._drop_finished(tell)
                if not self._todo:
                    return None
                if task := self._claim_first():
                    return task
            time.sleep(LOOK)
        return None

    def spent(self, task: Task) -> Spent:
        """The steps that abandoned tries at an experiment have computed, in this process or another."""
        with self._lock:
            self._read_journal()
            return Spent(steps_computed=self._spent.get(task.key, 0))

    def publish(self, task: Task, record: Record) -> str:
        """Publishes a record unless the lease was taken over; returns its status, or "dropped"."""
        record = identified(record, task.identity)
        if not (task.lease.held() and write_record(self.directory, record)):
            self._leave(task, "dropped")
            return "dropped"
        self._note("published", task, status=record.status)
        task.lease.finish()
        with self._lock:
            self._mine.discard(task.key)
            del self._todo[task.key]
        return record.status

    def park(self, task: Task, segment: str, spent: Spent) -> None:
        """Gives an experiment back until the segment it needs, which another worker computes, exists."""
        with self._lock:
            self._waits[task.key] = segment
            self._places[task.key] += bool(spent.steps_looked_up)
        self.give_back(task, "parked", spent)

    def give_back(self, task: Task, why: str, spent: Spent | None = None) -> None:
        """Gives an experiment back unfinished; the journal tells the next owner what it has cost."""
        try:
            self._note(why, task, **({"steps_computed": spent.steps_computed} if spent else {}))
        finally:
            task.lease.release()
            self._let_go(task)

    def lose(self, task: Task, record: Record, error: RecordedError) -> str:
        """Counts a loss: the experiment is tried again, or, after too many, its record is published as it stands."""
        losses = [*leases.history(self.leases, task.key), error]
        killed = sum(bool(loss.killed) for loss in losses)
        if killed >= KILLS or len(losses) - killed >= LOSSES:
            return self.publish(task, quarantined(record, error, len(losses)))
        if task.lease.held():
            task.lease.lose(error)
        self._leave(task, "lost")
        return "lost"

    def _claim_first(self) -> Task | None:
        for key in self._candidates():
            lease = leases.claim(self.leases, key, self.patience)
            if lease and self._finished(key) is not None:
                lease.release()
            elif lease:
                return self._begun(Task(self._todo[key], lease))
        return None

    def _candidates(self) -> Iterator[str]:
        """Keys that nobody holds and that wait for nothing, in the order in which to claim them."""
        claims = leases.find_all(self.leases)
        mine = {key: claims[key] for key in self._todo if key in claims}
        held = self._mine | {key for key, claim in mine.items() if claim.alive(self.patience)}
        tries = {key: claim.generation for key, claim in mine.items()}
        # Experiments that were lost before come last, so that they cannot hold up the rest.
        for key in sorted(self._todo, key=lambda key: (tries.get(key, 0), self._places[key])):
            if key not in held and self._bases.get(key) not in self._todo and not self._must_wait(key):
                yield key

    def _begun(self, task: Task) -> Task:
        """Notes that this process works on a task; moves the record of an earlier failure away."""
        self._mine.add(task.key)
        if task.key in self._again:
            path = self.directory / "failures" / f"{task.key}.{time.time_ns()}.json"
            move(record_path(self.directory, task.key), path)
        self._note("claimed", task)
        return task

    def _clear_leases(self) -> None:
        """Removes the leases of workers that ended, or could not remove a file, after they had published their work."""
        places: list[tuple[Path, Callable[[str], Path]]] = [(self.leases, partial(record_path, self.directory))]
        if self.store:
            places.append((self.store.root / "leases", self.store.entry_path))
        for folder, published in places:
            for key, claim in leases.find_all(folder).items():
                if published(key).exists() and not claim.alive(self.patience):
                    with suppress(DiskFault):
                        leases.clear(folder, key)

    def _must_wait(self, key: str) -> bool:
        if key not in self._waits or self.store is None:
            return False
        if self.store.busy(self._waits[key]):
            return True
        del self._waits[key]
        return False

    def _drop_finished(self, tell: Tell) -> None:
        """Removes experiments that have a record by now from the list, and tells of them."""
        keys = set(recorded(self.directory))
        for key in [key for key in self._todo if key in keys and key not in self._mine]:
            if (record := self._finished(key)) is not None:
                tell(record.status, self._todo.pop(key))

    def _finished(self, key: str) -> Record | None:
        """The record of an experiment; None without one, or if it is the failure that is to be tried again."""
        current = standing(self.directory, key).usable()
        return None if fingerprint(current) == self._again.get(key, "") else current.record

    def _leave(self, task: Task, event: str) -> None:
        self._note(event, task)
        self._let_go(task)

    def _let_go(self, task: Task) -> None:
        with self._lock:
            self._mine.discard(task.key)

    def _note(self, event: str, task: Task, **about: Any) -> None:
        line = {"time": time.time(), "event": event, "key": task.key, "generation": task.lease.generation}
        text = json.dumps({**line, **about, "pid": os.getpid()})
        append(self.journal, f"{text}\n".encode())

    def _read_journal(self) -> None:
        """Reads the steps spent on experiments that were given back; skips what is no line of a journal."""
        for line in added(self.journal, self._read):
            self._read += len(line)
            entry = parsed(line, _ENTRY)
            if entry and entry.event == "published":
                self._spent.pop(entry.key, None)
            elif entry and entry.steps_computed is not None:
                self._spent[entry.key] = entry.steps_computed


_ENTRY = msgspec.json.Decoder(Entry)


def ordered(identities: list[Identity]) -> list[Identity]:
    """Experiments by seed, so that a table is useful early; within a seed, first those that controls wait for.

    Then dense networks, then from the highest sparsity to the lowest.
    """
    seeds = list(dict.fromkeys(identity.experiment.seed for identity in identities))
    bases = {base.key for identity in identities if (base := identity.experiment.base)}

    def place(identity: Identity) -> tuple[int, bool, bool, float]:
        seed, sparsity = identity.experiment.seed, identity.experiment.sparsity
        return seeds.index(seed), identity.key not in bases, sparsity > 0, -sparsity

    return sorted(identities, key=place)


def quarantined(record: Record, error: RecordedError, losses: int) -> Record:
    """A failure that no run tries again."""
    message = f"{error.message}; lost {losses} times, delete this record to try again"
    return structs.replace(record, error=structs.replace(error, message=message, quarantined=True))
