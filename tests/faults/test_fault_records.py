"""Records that somebody has changed and sealed again: used if they still are records, else named, never a traceback."""

from __future__ import annotations

import json
import random
import shutil
import time
import traceback
from pathlib import Path

import pytest

from lth_bench.errors import FileFault
from lth_bench.reports.report import compare, write_tables
from lth_bench.results.frame import load
from lth_bench.running.status import survey
from lth_bench.storage.sealed import sealed
from support.places import ROOT

BOARD = ROOT / "leaderboards" / "quickstart"
RECORDS = 24
VALUES = (
    None,
    True,
    -1,
    0,
    1e308,
    10**18,
    2**63,
    1e-320,
    -0.5,
    "",
    "x" * 200,
    "<b>|$\\",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
)


def places(value, path=()):
    """The ways to all parts of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def changed(document, draw):
    """A document with one or two of its parts removed, replaced or added to."""
    for _ in range(draw.choice((1, 1, 1, 2))):
        *way, last = draw.choice(list(places(document)))
        part = document
        for key in way:
            part = part[key]
        kind = draw.random()
        if kind < 0.3 and isinstance(part, dict):
            del part[last]
        elif kind < 0.9:
            part[last] = draw.choice(VALUES)
        elif isinstance(part, dict):
            part["another"] = draw.choice(VALUES)
        else:
            part.append(draw.choice(VALUES))
    return document


@pytest.fixture
def board(tmp_path):
    """A part of the published board of the quickstart."""
    folder = tmp_path / "board"
    (folder / "records").mkdir(parents=True)
    for path in sorted((BOARD / "records").glob("*.json"))[:RECORDS]:
        shutil.copy(path, folder / "records")
    shutil.copytree(BOARD / "suites", folder / "suites")
    return folder


def read(board: Path, tables: Path) -> None:
    """Everything that reads records: the state of a run directory, its rows, its tables."""
    survey(board)
    write_tables(compare(load(board)), tables)


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_changed_records_are_used_or_named_and_never_end_in_a_traceback(board, tmp_path, tally, long):
    tries, bad, longest, draw = (2000 if long else 60), [], 0.0, random.Random(0)
    paths = sorted((board / "records").glob("*.json"))
    for _ in range(tries):
        path = draw.choice(paths)
        before = path.read_bytes()
        document = json.loads(before)
        del document["checksum"]
        path.write_bytes(sealed(changed(document, draw)))
        started = time.monotonic()
        try:
            read(board, tmp_path / "tables")
        except FileFault as fault:
            bad += [] if path.stem in str(fault) else [f"not named: {fault}"]
        except Exception:
            bad.append(traceback.format_exc()[-600:])
        longest = max(longest, time.monotonic() - started)
        path.write_bytes(before)
    tally("changed record", tries, bad, f"used or named in {longest:.1f} s at most, no traceback")
