"""This machine: its processors and its identity."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def identity() -> list[str]:
    """This machine since it was started, and what of its processes is seen from here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [socket.gethostname(), boot, str(Path("/proc/self/ns/pid").readlink())]
    except OSError:
        return [socket.gethostname()]


def started(pid: int) -> int | None:
    """When a process started, in ticks since boot; None if there is none, or no way to know."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
