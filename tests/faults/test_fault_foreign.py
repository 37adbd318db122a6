"""Files that somebody has changed and sealed again: used if they still are what they were, else named."""

from __future__ import annotations

import pytest

from faults.fuzz import read_changed
from support.fresh import fresh

TRIES = {
    "record": (12, 1000),
    "plan": (6, 200),
    "page": (2, 60),
    "lease": (25, 1000),
    "journal": (25, 1000),
    "ticket": (10, 400),
    "entry": (6, 200),
}
"""How many changed files are read, in short and in long."""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", TRIES)
def test_changed_files_are_used_or_named_in_bounded_time_and_memory(tmp_path, tally, long, kind):
    told = fresh(read_changed, kind, tmp_path, TRIES[kind][long])
    counts = f"{told['used']} used, {told['named']} named, {told['different']} read as others"
    figure = f"{counts}; {told['longest']:.1f} s of a processor and {told['memory'] / 1e6:.0f} MB at most"
    tally(f"changed {kind}", TRIES[kind][long], told["bad"], figure)
