"""Leases: who works on what, in a folder that several processes and machines share.

A lease on KEY is the file KEY.N, made by exclusive create. It is alive while its owner touches it; once it is not,
whoever creates KEY.N+1 first has taken over, and the owner of KEY.N, should it come back, finds that out.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_bench.machine import identity as machine_identity
from lth_bench.machine import started
from lth_bench.storage.files import age, create, names, publish, remove, touch

SECONDS = 60.0


@dataclass(frozen=True)
class Lease:
    """The right to work on something until it is released, lost or taken over; `generation` counts from 1."""

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
        """Whether nobody has taken over."""
        latest = find(self.folder, self.key)
        return latest is not None and latest.token == self.token

    def release(self) -> None:
        """Gives the lease back with nothing done; earlier losses stay counted."""
        remove(self.path)

    def finish(self) -> None:
        """Removes every trace, once the work is published."""
        clear(self.folder, self.key)

    def lose(self, reason: dict[str, Any]) -> None:
        """Says that the work was lost, so that others need not wait for the lease to grow old."""
        publish(self.path, _content(self.token, lost=reason))


@dataclass(frozen=True)
class Claim:
    """The latest lease on a key as others see it."""

    path: Path
    generation: int
    token: str = ""
    owner: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, Any] | None = None

    def alive(self, seconds: float) -> bool:
        """Whether its owner may still be at work; one that is silent for `seconds` is not."""
        if self.lost is not None or _is_dead(self.owner):
            return False
        old = age(self.path)
        return old is not None and old < seconds


def claim(folder: Path, key: str, seconds: float = SECONDS) -> Lease | None:
    """Takes the lease on a key unless somebody alive has it. Look again for finished work after this."""
    latest = find(folder, key)
    if latest and latest.alive(seconds):
        return None
    lease = Lease(folder, key, latest.generation + 1 if latest else 1, secrets.token_hex(8))
    return lease if create(lease.path, _content(lease.token)) else None


def clear(folder: Path, key: str) -> None:
    """Removes all leases on a key, the latest first, so that what is left at any time is a history."""
    latest = find(folder, key)
    for generation in range(latest.generation if latest else 0, 0, -1):
        remove(folder / f"{key}.{generation}")


def find(folder: Path, key: str) -> Claim | None:
    """The latest lease on a key."""
    return find_all(folder, key).get(key)


def find_all(folder: Path, only: str | None = None) -> dict[str, Claim]:
    """The latest lease on every key, or on `only` one."""
    generations: dict[str, int] = {}
    for name in names(folder):
        key, _, number = name.rpartition(".")
        if number.isdecimal() and not name.startswith(".") and only in (None, key):
            generations[key] = max(int(number), generations.get(key, 0))
    return {key: _read(folder / f"{key}.{number}", number) for key, number in generations.items()}


def history(folder: Path, key: str) -> list[dict[str, Any]]:
    """Why earlier leases on a key were lost, the oldest first."""
    latest = find(folder, key)
    numbers = range(1, latest.generation + 1) if latest else []
    claims = [_read(folder / f"{key}.{number}", number) for number in numbers]
    return [claim.lost for claim in claims if claim.lost]


def _read(path: Path, generation: int) -> Claim:
    try:
        content = json.loads(path.read_bytes())
        return Claim(path, generation, content["token"], content["owner"], content["lost"])
    except (OSError, ValueError, KeyError, TypeError):
        return Claim(path, generation)


def _content(token: str, lost: dict[str, Any] | None = None) -> bytes:
    return json.dumps({"token": token, "owner": _self(), "lost": lost}).encode()


def _self() -> dict[str, Any]:
    pid = os.getpid()
    return {"machine": machine_identity(), "pid": pid, "started": started(pid)}


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether a process of this machine is known to have ended."""
    if not owner or owner["started"] is None or owner["machine"] != machine_identity():
        return False
    return bool(started(owner["pid"]) != owner["started"])
