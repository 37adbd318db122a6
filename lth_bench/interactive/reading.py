"""What run directories hold, for scripts and notebooks."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from lth_bench.export.finding import find, whole_key
from lth_bench.pruning.tickets import Ticket, packed_ticket
from lth_bench.reports.columns import numbers
from lth_bench.results.leaderboard import summarise
from lth_bench.results.merging import load_all
from lth_bench.storage.record import Record
from lth_bench.storage.records import read_record, record_path, ticket_path
from lth_bench.storage.zoo import masks_of

Place = str | os.PathLike[str]


def data_folder(data: Place | None) -> Path | None:
    """The folder of data sets: the given one, or that of LTH_BENCH_DATA, as for commands."""
    found = os.environ.get("LTH_BENCH_DATA") if data is None else data
    return Path(found) if found else None


def leaderboard(*directories: Place, equivalence: float = 0.0, all_revisions: bool = False) -> pd.DataFrame:
    """The leaderboards of run directories that can be compared: a row for every method at every sparsity.

    Accuracies are in per cent and differences in points; differences to the best of up to `equivalence` points do not
    count. Results of which a raised revision has taken the place are left out unless `all_revisions` are asked for.
    Raises FileFault.
    """
    frame = load_all([Path(directory) for directory in directories], all_revisions).frame
    return numbers(summarise(frame, equivalence))


def load_record(directory: Place, key: str) -> Record:
    """The record of an experiment, by its key or the beginning of its key. Raises FileFault and Damaged."""
    return read_record(record_path(Path(directory), whole_key(Path(directory), key)))


def load_ticket(directory: Place, key: str) -> Ticket:
    """The ticket of a finished experiment, on the CPU, by its key or the beginning of its key.

    `masks` are boolean, by the name and in the shape of each prunable weight; `start` and `final` are states, weights
    and buffers by name, at `step`, when the masks took force, and at the end. Of a board, which publishes masks alone,
    both are empty. Raises FileFault and Damaged.
    """
    folder, whole = Path(directory), whole_key(Path(directory), key)
    reference = load_record(folder, whole).ticket
    packed = None if ticket_path(folder, whole).exists() else masks_of(folder, whole)
    return packed_ticket(packed, reference.step) if packed and reference else find(whole, folder).ticket
