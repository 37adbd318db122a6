"""What the state of a run directory is: what is done, running, failed, and what the next run would do again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lth_bench.errors import Damaged, FileFault
from lth_bench.experiments.experiment import from_json
from lth_bench.hashing import sha256
from lth_bench.running.queue import Identity
from lth_bench.storage import leases
from lth_bench.storage.files import names, set_aside
from lth_bench.storage.leases import SECONDS, Claim
from lth_bench.storage.records import read_plan, read_record, record_path, ticket_path

ORDER = ("done", "diverged", "failed", "quarantined", "damaged", "running", "interrupted", "missing")
AGAIN = {
    "failed": "the next run tries it again",
    "damaged": "the next run sets the record aside and repeats it",
    "interrupted": "its worker is gone; the next run, or one that goes on now, takes it over",
    "quarantined": "tried again only once its record is deleted",
    "diverged": "a result; not tried again",
}


@dataclass(frozen=True)
class Seen:
    """An experiment's identity or record, its state, and a word on it."""

    identity: dict[str, Any]
    state: str
    word: str = ""


def survey(directory: Path) -> list[Seen]:
    """The state of every experiment that was planned or has a record. Raises FileFault if there is none."""
    planned = {entry["key"]: entry for entry in read_plan(directory)}
    recorded = [name.removesuffix(".json") for name in names(directory / "records") if not name.startswith(".")]
    if not planned and not recorded:
        raise FileFault(f"no records in {directory}: it has neither a plan nor a folder records/ with something in it")
    claims = leases.find_all(directory / "leases")
    found = set(recorded)
    seen = [_recorded(directory, key, planned.get(key, {"key": key})) for key in recorded]
    return seen + [_pending(planned[key], claims.get(key)) for key in planned if key not in found]


def count(seen: list[Seen]) -> dict[str, int]:
    """How many experiments are in each state, in a fixed order."""
    counts = Counter(item.state for item in seen)
    return {state: counts[state] for state in ORDER if counts[state]}


def _recorded(directory: Path, key: str, planned: dict[str, Any]) -> Seen:
    try:
        record = read_record(record_path(directory, key))
    except FileFault as fault:
        return Seen(planned, "damaged", str(fault))
    error = record.get("error", {})
    state = "quarantined" if error.get("quarantined") else str(record["status"])
    identity: dict[str, Any] = {name: record[name] for name in ("key", "label", "experiment")}
    return Seen(identity, state, f"{error['kind']}: {error['message']}" if error else "")


def _pending(planned: dict[str, Any], claim: Claim | None) -> Seen:
    if claim is None:
        return Seen(planned, "missing")
    if claim.lost:
        return Seen(planned, "interrupted", f"lost in try {claim.generation}: {claim.lost.get('message', '')}")
    if claim.alive(SECONDS):
        return Seen(planned, "running", f"try {claim.generation}, process {claim.owner.get('pid')}")
    return Seen(planned, "interrupted", f"try {claim.generation}")


FINAL = ("done", "diverged", "quarantined")


def missing(directory: Path, identities: list[Identity]) -> list[Identity]:
    """The experiments without a final record; a failed one is tried again.

    A damaged record is set aside, and so is that of a base whose ticket a control could not read. Raises FileFault for
    a record that cannot be read.
    """
    states = {identity["key"]: status(directory, identity["key"]) for identity in identities}
    for key in [key for key, state in states.items() if state == "damaged"]:
        set_aside(record_path(directory, key), directory / "damaged")
    todo = [identity for identity in identities if states[identity["key"]] not in FINAL]
    bases = {base.key for identity in todo if (base := from_json(identity["experiment"]).base)}
    unsound = [key for key in bases & set(states) if states[key] == "done" and not _has_ticket(directory, key)]
    for key in unsound:
        set_aside(record_path(directory, key), directory / "damaged")
    wanted = {*unsound, *(identity["key"] for identity in todo)}
    return [identity for identity in identities if identity["key"] in wanted]


def _has_ticket(directory: Path, key: str) -> bool:
    path = ticket_path(directory, key)
    wanted = read_record(record_path(directory, key))["ticket"]["sha256"]
    return path.exists() and sha256([path.read_bytes()]) == wanted


def status(directory: Path, key: str) -> str:
    """The status in an experiment's record; "quarantined" for one that is not tried again, "damaged" or "missing".

    Raises FileFault for a record that cannot be read.
    """
    path = record_path(directory, key)
    if not path.exists():
        return "missing"
    try:
        record = read_record(path)
    except Damaged:
        return "damaged"
    return "quarantined" if record.get("error", {}).get("quarantined") else str(record["status"])
