"""Small file systems to run out of room on."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PATIENCE = 10.0  # seconds in which processes that have been told to end may still hold a file


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
    """Waits for the last files on it to be closed; what is still open then goes when it is closed."""
    deadline = time.monotonic() + PATIENCE
    while subprocess.run(["umount", place], capture_output=True).returncode:
        if time.monotonic() > deadline:
            logging.getLogger(__name__).warning("%s is still in use by %s", place, _holders(place))
            subprocess.run(["umount", "--lazy", place], check=True)
            return
        time.sleep(0.2)


def _holders(place: Path) -> list[str]:
    """The processes that have a file below a place open or mapped, or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            links = [*(process / "fd").iterdir(), *(process / "map_files").iterdir(), process / "cwd"]
            used = [str(link.readlink()) for link in links if link.is_symlink()]
            if any(path.startswith(str(place)) for path in used):
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found
