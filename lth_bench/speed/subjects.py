"""The networks of tickets, from the files of a run directory."""

from __future__ import annotations

from pathlib import Path

from lth_bench.errors import FileFault
from lth_bench.pruning.tickets import read_ticket
from lth_bench.running.context import Context
from lth_bench.speed.engines import Subject
from lth_bench.speed.measuring import Terms, machine, measured
from lth_bench.storage.latency import Latencies, write_latencies
from lth_bench.storage.record import Record
from lth_bench.storage.records import read_record, record_path, ticket_path


def measure(directory: Path, key: str, context: Context, terms: Terms) -> Latencies:
    """Measures a ticket and writes its latencies beside the records.

    Raises FileFault, ModelError, UnknownName and DataError for what the ticket needs, and DiskFault.
    """
    record = read_record(record_path(directory, key))
    if record.status != "done" or record.ticket is None:
        raise FileFault(f"the experiment {key} in {directory} is {record.status}; only one that is done has a ticket")
    found = measured(subject(directory, record, record.ticket.sha256, context), terms)
    latencies = Latencies(1, key, record.ticket.sha256, machine(context.device, terms.threads), found)
    write_latencies(directory, latencies)
    return latencies


def subject(directory: Path, record: Record, digest: str, context: Context) -> Subject:
    """The network of a record's ticket as it was at the end of training. Raises as `measure` does."""
    ticket = read_ticket(ticket_path(directory, record.key), digest)
    network = context.drawn(record.experiment, 0)
    network.load_state_dict(ticket.final)
    shape = context.read(record.experiment.dataset).training.shape
    return Subject(network.eval(), ticket.masks, ticket.channels, shape)
