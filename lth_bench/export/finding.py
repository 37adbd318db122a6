"""The experiment to export: its record and its ticket in a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lth_bench.errors import Damaged, FileFault
from lth_bench.pruning.tickets import Ticket, read_ticket
from lth_bench.storage.record import Record, Sparsity
from lth_bench.storage.records import read_record, record_path, recorded, ticket_path
from lth_bench.storage.work import Network

SHOWN = 5


@dataclass(frozen=True)
class Finished:
    """A finished experiment: its record, what that counted, and its ticket."""

    record: Record
    sparsity: Sparsity
    network: Network
    accuracy: float
    ticket: Ticket


def find(what: str, directory: Path | None) -> Finished:
    """The experiment of a key, a unique beginning of a key in a run directory, or the path of a ticket.

    Raises FileFault.
    """
    path = Path(what)
    if path.suffix == ".safetensors":
        if not path.exists():
            raise FileFault(f"there is no ticket {path}; the tickets of a run are in DIR/tickets")
        return _finished(path.absolute().parent.parent, path.stem, path)
    if directory is None:
        raise FileFault(f"in which run directory does {what!r} lie? Name it by --from DIR, or give a ticket's path")
    key = whole_key(directory, what)
    return _finished(directory, key, ticket_path(directory, key))


def whole_key(directory: Path, beginning: str) -> str:
    """The one key in a run directory that is or begins like this. Raises FileFault."""
    if not (directory / "records").is_dir():
        raise FileFault(f"no records in {directory}: there is no folder {directory / 'records'}")
    keys = recorded(directory)
    found = [beginning] if beginning in keys else [key for key in keys if key.startswith(beginning)]
    if not found:
        raise FileFault(
            f"none of the {len(keys)} records in {directory / 'records'} has a key that begins with {beginning!r}"
        )
    if len(found) > 1:
        shown = ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
        raise FileFault(f"{len(found)} keys in {directory} begin with {beginning!r}: {shown}; give more of the key")
    return found[0]


def _finished(directory: Path, key: str, ticket: Path) -> Finished:
    """The experiment of this key, with a ticket that its record vouches for."""
    path = record_path(directory, key)
    if not path.exists():
        raise FileFault(f"the ticket {ticket} has no record: there is no {path}; give a ticket in a run directory")
    record = read_record(path)
    if record.status != "done":
        reason = f": {record.error.words}" if record.error else ""
        raise FileFault(f"the experiment {key} has no network to export, its status is {record.status!r}{reason}")
    if not (record.ticket and record.sparsity and record.network and record.test):
        raise Damaged(f"the record {path} lacks results of a finished experiment")
    content = read_ticket(ticket, record.ticket.sha256)
    return Finished(record, record.sparsity, record.network, record.test.last.accuracy, content)
