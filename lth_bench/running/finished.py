"""Finished experiments of a run directory: what their records and tickets say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lth_bench.errors import FileFault
from lth_bench.experiments.experiment import Experiment
from lth_bench.pruning.tickets import Ticket, read_ticket
from lth_bench.running.guarded import NoTicket
from lth_bench.running.standing import done
from lth_bench.storage.record import Identity, Record
from lth_bench.storage.records import ticket_path


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
    """The finished experiments of a run directory, as `standing.done` gives them."""
    return (Finished(directory, identity, record) for identity, record in done(directory))
