"""Files that somebody has changed and sealed again: used if they still are what they were, else named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
TESTS = FUZZ.parents[1]
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
    tries = TRIES[kind][long]
    command = [sys.executable, FUZZ, kind, tmp_path, str(tries)]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, env=path)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    counts = f"{told['used']} used, {told['named']} named, {told['different']} read as others"
    figure = f"{counts}; {told['longest']:.1f} s of a processor and {told['memory'] / 1e6:.0f} MB at most"
    tally(f"changed {kind}", tries, told["bad"], figure)
