"""The state of a run directory: which experiments are done, running or failed, and which the next run repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

from lth_bench.errors import Damaged, FileFault
from lth_bench.running.standing import CONSEQUENCES, FINAL, Standing, standing
from lth_bench.storage import leases
from lth_bench.storage.files import set_aside
from lth_bench.storage.leases import SECONDS, Claim
from lth_bench.storage.reading import digest
from lth_bench.storage.record import STATUSES, Identity, identity_of
from lth_bench.storage.records import plan_path, read_plan, read_record, record_path, recorded, ticket_path

ORDER = (*STATUSES, "quarantined", "damaged", "unreadable", "running", "interrupted", "missing")
AGAIN = {**CONSEQUENCES, "interrupted": "its worker is gone; the next run, or one that goes on now, takes it over"}


@dataclass(frozen=True)
class Surveyed:
    """The state of an experiment, and the words that explain it; its identity is None if no file tells it."""

    key: str
    identity: Identity | None
    state: str
    words: str = ""


def survey(directory: Path) -> list[Surveyed]:
    """The state of every experiment that was planned or has a record, and of a plan that cannot be read.

    Raises FileFault if there is none.
    """
    planned, faults = _planned(directory)
    keys = recorded(directory)
    if not (planned or keys or faults):
        raise FileFault(f"no records in {directory}: it has neither a plan nor a folder records/ with something in it")
    claims = leases.find_all(directory / "leases")
    surveyed = [_recorded(key, planned.get(key), standing(directory, key)) for key in keys]
    pending = planned.keys() - set(keys)
    return faults + surveyed + [_pending(planned[key], claims.get(key)) for key in planned if key in pending]


def _planned(directory: Path) -> tuple[dict[str, Identity], list[Surveyed]]:
    """The planned experiments by key; or what is wrong with the plan."""
    try:
        return {entry.key: entry for entry in read_plan(directory)}, []
    except FileFault as fault:
        state = "damaged" if isinstance(fault, Damaged) else "unreadable"
        return {}, [Surveyed(plan_path(directory).name, None, state, str(fault))]


def count(surveyed: list[Surveyed]) -> dict[str, int]:
    """How many experiments are in each state, in a fixed order."""
    counts = Counter(item.state for item in surveyed)
    return {state: counts[state] for state in ORDER if counts[state]}


def put_aside(directory: Path, keys: Iterable[str]) -> int:
    """Moves the records of these experiments and their tickets into redone/; returns the number of records."""
    recorded = [key for key in keys if record_path(directory, key).exists()]
    for key in recorded:
        set_aside(record_path(directory, key), directory / "redone")
        set_aside(ticket_path(directory, key), directory / "redone")
    return len(recorded)


def missing(directory: Path, identities: list[Identity], redone: Set[str] = frozenset()) -> list[Identity]:
    """The experiments without a final record; a failed one is tried again, and so are those that are to be `redone`.

    A damaged record is set aside, and so is that of a base whose ticket a control could not read. Raises FileFault for
    a record of another schema, or one that cannot be read; it stays where it is.
    """
    states = {identity.key: standing(directory, identity.key).readable().state for identity in identities}
    todo = [identity for identity in identities if states[identity.key] not in FINAL or identity.key in redone]
    bases = {base.key for identity in todo if (base := identity.experiment.base)}
    unsound = [key for key in states if key in bases and states[key] == "done" and not _has_ticket(directory, key)]
    for key in [*(key for key, state in states.items() if state == "damaged"), *unsound]:
        set_aside(record_path(directory, key), directory / "damaged")
    repeated = {*unsound, *(identity.key for identity in todo)}
    return [identity for identity in identities if identity.key in repeated]


def _recorded(key: str, planned: Identity | None, now: Standing) -> Surveyed:
    if now.record is None:
        return Surveyed(key, planned, now.state, str(now.fault or ""))
    error = now.record.error
    return Surveyed(key, identity_of(now.record), now.state, f"{error.kind}: {error.words}" if error else "")


def _pending(planned: Identity, claim: Claim | None) -> Surveyed:
    if claim is None:
        return Surveyed(planned.key, planned, "missing")
    if claim.lost:
        return Surveyed(planned.key, planned, "interrupted", f"lost in try {claim.generation}: {claim.lost.message}")
    if claim.alive(SECONDS):
        process = claim.owner.pid if claim.owner else None
        return Surveyed(planned.key, planned, "running", f"try {claim.generation}, process {process}")
    return Surveyed(planned.key, planned, "interrupted", f"try {claim.generation}")


def _has_ticket(directory: Path, key: str) -> bool:
    path, reference = ticket_path(directory, key), read_record(record_path(directory, key)).ticket
    try:
        return path.exists() and reference is not None and digest(path) == reference.sha256
    except Damaged:
        return False
