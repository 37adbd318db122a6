"""Finished experiments of a run directory: what their records and tickets say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lth_bench.errors import Damaged, FileFault
from lth_bench.experiments.experiment import Experiment
from lth_bench.pruning.tickets import Ticket, read_ticket
from lth_bench.running.guarded import NoTicket
from lth_bench.storage.record import Identity, Record, identity_of
from lth_bench.storage.records import read_plan, read_record, record_path, recorded, ticket_path


@dataclass(frozen=True)
class Finished:
    """A finished experiment: its identity, with the labels of the plan, its record, and its ticket."""

    directory: Path
    identity: Identity
    record: Record

    @property
    def key(self) -> str:
        return self.identity.key

    @property
    def experiment(self) -> Experiment:
        return self.identity.experiment

    @cached_property
    def ticket(self) -> Ticket:
        """Masks, the step and the weights when they took force, and the final weights; read once. Raises NoTicket."""
        path, reference = ticket_path(self.directory, self.key), self.record.ticket
        if reference is None or not path.exists():
            raise NoTicket(f"the analysis needs the ticket of experiment {self.key}, and there is no {path}")
        try:
            return read_ticket(path, reference.sha256)
        except FileFault as error:
            raise NoTicket(f"the analysis needs the ticket of experiment {self.key}: {error}") from error


def finished(directory: Path) -> Iterator[Finished]:
    """The finished experiments of a run directory, in the order of its plan; helpers and unusable records are left out.

    Raises FileFault where there are no records.
    """
    try:
        planned = {entry.key: entry for entry in read_plan(directory)}
    except Damaged:
        planned = {}
    keys = recorded(directory)
    if not keys:
        raise FileFault(f"no records in {directory}: run a suite into it first")
    order = {key: number for number, key in enumerate(planned)}
    for key in sorted(keys, key=lambda key: order.get(key, len(order))):
        try:
            record = read_record(record_path(directory, key))
        except FileFault:  # `lth-bench status` tells
            continue
        if record.status == "done" and not (entry := planned.get(key, identity_of(record))).helper:
            yield Finished(directory, entry, record)
