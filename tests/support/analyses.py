"""Studies of finished experiments, with tickets of their own or made by hand."""

from __future__ import annotations

from pathlib import Path

import torch
from msgspec import structs

from lth_bench.experiments.choices import choice
from lth_bench.pruning.tickets import Ticket, write_ticket
from lth_bench.running.analysing import analyse
from lth_bench.running.context import Context
from lth_bench.running.finished import Finished
from lth_bench.running.messages import Train
from lth_bench.running.standing import done
from lth_bench.running.study import Study
from lth_bench.running.worker import make_context
from lth_bench.storage.record import Identity, Record, TicketReference, analysis_identity, builtins
from lth_bench.storage.records import analysis_path, record_path, ticket_path
from lth_bench.storage.sealed import publish_json
from lth_bench.storage.store import Store
from lth_bench.training.ledger import Spent


def site(directory: Path) -> Context:
    """A context with all plugins and the store of a run directory."""
    return make_context(None, "cpu", Store(directory / "store"))


def study_of(
    directory: Path, label: str, seed: int = 0, ticket: Ticket | None = None, sparsity: float | None = None
) -> Study:
    """The study of the first experiment of this label and seed, at this sparsity and with this ticket if given."""
    found = ((item, record, item.experiment) for item, record in done(directory))
    named = ((item, record, e) for item, record, e in found if (item.label, e.seed) == (label, seed))
    item, record = next((item, record) for item, record, e in named if sparsity in (None, e.sparsity))
    if ticket is not None:
        record = _with_ticket(directory, record, ticket)
    return Study(Finished(directory, item, record), site(directory))


def _with_ticket(directory: Path, record: Record, ticket: Ticket) -> Record:
    """The record of an experiment that has this ticket, both written."""
    digest = write_ticket(ticket_path(directory, record.key), ticket)
    record = structs.replace(record, ticket=TicketReference(ticket.step, digest))
    publish_json(record_path(directory, record.key), builtins(record))
    return record


def whole(masks: dict[str, list], start: dict[str, list], final: dict[str, list], step: int = 0) -> Ticket:
    """A ticket of these numbers."""
    return Ticket(
        step,
        {name: torch.tensor(values) for name, values in start.items()},
        {name: torch.tensor(values, dtype=torch.bool) for name, values in masks.items()},
        {name: torch.tensor(values) for name, values in final.items()},
    )


def identity_of_analysis(study: Study, name: str) -> Identity:
    """What the record of an analysis of this study says before it runs."""
    registry = study._context.plugins.analyses

    return analysis_identity(choice(registry, name, {}), study.subject.identity, study.record.ticket.sha256)


def analysed(study: Study, name: str, spent: Spent | None = None) -> Record:
    """The record of an analysis, computed in this process and not written."""
    directory = study.subject.directory
    request = Train(identity_of_analysis(study, name), 1, spent or Spent())
    return analyse(request, analysis_path(directory, name), study._context)
