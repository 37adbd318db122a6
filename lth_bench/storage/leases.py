"""Leases: which process works on which key, in a folder that several processes and machines share.

A lease on KEY is the file KEY.N, made by exclusive create. It is alive while its owner touches it. When it is not, the
first process to create KEY.N+1 takes over; the owner of KEY.N, should it come back, sees that file and stops.

Ages of leases are differences between times of the file system, so that the clocks of machines need not agree. Other
people may have written what lies here: files with other names or contents are no leases, or leases of nobody.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from lth_bench.errors import FileFault
from lth_bench.hashing import canonical
from lth_bench.machine import identity as machine_identity
from lth_bench.machine import started
from lth_bench.storage.files import age, create, publish, remove, touch
from lth_bench.storage.lines import parsed
from lth_bench.storage.reading import content, names
from lth_bench.storage.record import RecordedError, builtins, decoder

SECONDS = 60.0
NAME = re.compile(r"([^.].{0,127})\.([1-9][0-9]{0,8})")
LAST = 10**9 - 1  # the highest generation that a name can have
LARGEST = 1 << 20  # bytes of a lease


class Owner(Struct, frozen=True):
    """A process: its machine, its number, and when it started, in ticks since the machine did."""

    machine: list[str]
    pid: int
    started: int | None


class LeaseContent(Struct, frozen=True):
    """The file of a lease."""

    token: str
    owner: Owner
    lost: RecordedError | None


@dataclass(frozen=True)
class Lease:
    """The right to work on a key until it is released, lost or taken over; `generation` counts from 1."""

    folder: Path
    key: str
    generation: int
    token: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.key}.{self.generation}"

    def beat(self) -> bool:
        """Keeps the lease alive; False if it is no longer ours."""
        return self.held() and touch(self.path)

    def held(self) -> bool:
        """Whether this is still the latest lease on its key."""
        latest = find(self.folder, self.key)
        return latest is not None and latest.token == self.token

    def release(self) -> None:
        """Gives the lease back unused, if it is still held; earlier losses still count. A file that stays expires."""
        with suppress(FileFault):
            if self.held():
                remove(self.path)

    def finish(self) -> None:
        """Removes all leases on the key if this one is still held, after publication. A file that stays expires."""
        with suppress(FileFault):
            if self.held():
                clear(self.folder, self.key)

    def lose(self, reason: RecordedError) -> None:
        """Declares the work lost, so that others need not wait until the lease expires."""
        publish(self.path, _content(self.token, lost=reason))


@dataclass(frozen=True)
class Claim:
    """The latest lease on a key, as other processes see it."""

    path: Path
    generation: int
    token: str = ""
    owner: Owner | None = None
    lost: RecordedError | None = None

    def alive(self, seconds: float) -> bool:
        """Whether the owner may be at work: not known to be dead, and not silent for `seconds`."""
        if self.lost is not None or _is_dead(self.owner):
            return False
        silence = age(self.path)
        return silence is not None and silence < seconds


def claim(folder: Path, key: str, seconds: float = SECONDS) -> Lease | None:
    """Takes the lease on a key unless a living owner has it. Callers then look again for finished work."""
    latest = find(folder, key)
    if latest and latest.alive(seconds):
        return None
    if latest and latest.generation == LAST:
        clear(folder, key)
        latest = None
    lease = Lease(folder, key, latest.generation + 1 if latest else 1, secrets.token_hex(8))
    return lease if create(lease.path, _content(lease.token)) else None


def clear(folder: Path, key: str) -> None:
    """Removes all leases on a key, the latest first, so that the remaining ones are a history at any time.

    Raises DiskFault for a file that cannot be removed.
    """
    for generation in _generations(folder, key)[::-1]:
        remove(folder / f"{key}.{generation}")


def find(folder: Path, key: str) -> Claim | None:
    """The latest lease on a key."""
    return find_all(folder, key).get(key)


def find_all(folder: Path, only: str | None = None) -> dict[str, Claim]:
    """The latest lease on every key, or on `only` one."""
    latest: dict[str, int] = {}
    for key, generation in _places(folder):
        if only in (None, key):
            latest[key] = max(generation, latest.get(key, 0))
    return {key: _read(folder / f"{key}.{generation}", generation) for key, generation in latest.items()}


def history(folder: Path, key: str) -> list[RecordedError]:
    """The errors by which earlier leases on a key were lost, the oldest first."""
    claims = [_read(folder / f"{key}.{generation}", generation) for generation in _generations(folder, key)]
    return [claim.lost for claim in claims if claim.lost]


def _generations(folder: Path, key: str) -> list[int]:
    """The generations of the leases on a key, in rising order."""
    return sorted(generation for other, generation in _places(folder) if other == key)


def _places(folder: Path) -> Iterator[tuple[str, int]]:
    """The key and generation of every lease in a folder."""
    matches = (NAME.fullmatch(name) for name in names(folder))
    return ((match[1], int(match[2])) for match in matches if match)


def _read(path: Path, generation: int) -> Claim:
    try:
        lease = parsed(content(path, LARGEST), _CONTENT)
    except FileFault:
        lease = None
    return Claim(path, generation, lease.token, lease.owner, lease.lost) if lease else Claim(path, generation)


_CONTENT = decoder(LeaseContent)


def _content(token: str, lost: RecordedError | None = None) -> bytes:
    pid = os.getpid()
    owner = Owner(machine_identity(), pid, started(pid))
    return canonical(builtins(LeaseContent(token, owner, lost))).encode()


def _is_dead(owner: Owner | None) -> bool:
    """Whether the owner is a process of this machine that has ended."""
    if owner is None or owner.started is None or owner.machine != machine_identity():
        return False
    return started(owner.pid) != owner.started
