"""Where an experiment stands by its record: a result, to be tried again, or damaged. Decided here alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lth_bench.errors import Damaged, FileFault
from lth_bench.storage.record import Identity, Record, Status, builtins, identity_of
from lth_bench.storage.records import read_plan, read_record, record_path, recorded

State = Status | Literal["quarantined", "damaged", "unreadable", "missing"]
FINAL = ("done", "diverged", "quarantined")
CONSEQUENCES = {
    "failed": "the next run tries it again",
    "damaged": "the next run sets the record aside in damaged/ and repeats the experiment",
    "unreadable": "the next run stops here and leaves the record as it is",
    "quarantined": "tried again only once its record is deleted",
    "diverged": "a result; not tried again",
}


@dataclass(frozen=True)
class Standing:
    """The state of an experiment, and its record or the fault of its record.

    A "damaged" record does not hold what was written. An "unreadable" one has another schema or fields of another kind,
    or the system refuses access.
    """

    state: State
    record: Record | None = None
    fault: FileFault | None = None

    def readable(self) -> Standing:
        """This, unless the record must not be touched: raises its fault."""
        if self.fault and self.state == "unreadable":
            raise self.fault
        return self

    def usable(self) -> Standing:
        """This, unless there is a record that cannot be used: raises its fault."""
        if self.fault:
            raise self.fault
        return self


def standing(directory: Path, key: str) -> Standing:
    """Where an experiment stands; another process may move its record away at any time."""
    path = record_path(directory, key)
    if not path.exists():
        return Standing("missing")
    try:
        record = read_record(path)
    except Damaged as fault:
        return Standing("damaged", fault=fault)
    except FileFault as fault:
        return Standing("unreadable", fault=fault) if path.exists() else Standing("missing")
    quarantined = record.error is not None and record.error.quarantined
    return Standing("quarantined" if quarantined else record.status, record)


def fingerprint(standing: Standing) -> str | None:
    """A text that tells one failure from the next; None for what is not a failure to be tried again."""
    if standing.record is None or standing.state in FINAL:
        return None
    return json.dumps(builtins([standing.record.error, standing.record.timing]))


def done(directory: Path) -> Iterator[tuple[Identity, Record]]:
    """The finished experiments of a run directory, in the order of its plan and with its labels; no helpers.

    Records that cannot be used are left out; `survey` tells of them.
    """
    try:
        planned = {entry.key: entry for entry in read_plan(directory)}
    except FileFault:
        planned = {}
    order = {key: number for number, key in enumerate(planned)}
    for key in sorted(recorded(directory), key=lambda key: order.get(key, len(order))):
        record = standing(directory, key).record
        if record and record.status == "done" and not (entry := planned.get(key, identity_of(record))).helper:
            yield entry, record
