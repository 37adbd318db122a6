"""This machine: its processors, its identity and its processes."""

from __future__ import annotations

import os
import platform
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor_kind() -> str:
    """The kind of processor, in the words of its maker if the system has them."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def identity() -> list[str]:
    """Names this machine since it was booted, and the process namespace that this process sees."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [socket.gethostname(), boot, str(Path("/proc/self/ns/pid").readlink())]
    except OSError:
        return [socket.gethostname()]


def started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it does not run or the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
