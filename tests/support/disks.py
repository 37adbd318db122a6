"""Small file systems to run out of room on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds in which processes that have been told to end may still hold a file


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Inside, a tmpfs with these options lies at `place`; skips the test where this process may not mount one."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", place]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        yield
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    """Waits for the last files on it to be closed; fails if somebody keeps one."""
    deadline = time.monotonic() + PATIENCE
    while (done := subprocess.run(["umount", place], capture_output=True, text=True)).returncode:
        if time.monotonic() > deadline:
            subprocess.run(["umount", "--lazy", place], check=True)
            pytest.fail(f"{place} was still in use {PATIENCE:g} seconds after all was done: {done.stderr}")
        time.sleep(0.2)
