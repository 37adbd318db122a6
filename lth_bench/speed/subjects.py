"""The networks of tickets, from the files of a run directory."""

from __future__ import annotations

from pathlib import Path

from lth_bench.export.finding import Finished, find
from lth_bench.running.context import Context
from lth_bench.speed.engines import Subject
from lth_bench.speed.measuring import Terms, machine, measured
from lth_bench.storage.latency import Latencies, write_latencies


def measure(directory: Path, key: str, context: Context, terms: Terms) -> Latencies:
    """Measures a ticket and writes its latencies beside the records.

    Raises FileFault, ModelError, UnknownName and DataError for what the ticket needs, and DiskFault.
    """
    finished = find(key, directory)
    ticket = finished.record.ticket
    assert ticket is not None
    found = measured(subject(finished, context), terms)
    latencies = Latencies(1, key, ticket.sha256, machine(context.device, terms.threads), found)
    write_latencies(directory, latencies)
    return latencies


def subject(finished: Finished, context: Context) -> Subject:
    """The network of a ticket as it was at the end of training. Raises as `measure` does."""
    ticket, experiment = finished.ticket, finished.record.experiment
    network = context.drawn(experiment, 0)
    network.load_state_dict(ticket.final)
    shape = context.read(experiment.dataset).training.shape
    masks, channels = (
        {name: mask.to(context.device) for name, mask in part.items()} for part in (ticket.masks, ticket.channels)
    )
    return Subject(network.eval(), masks, channels, shape)
