"""Random streams: every draw comes from a generator made of the seed and what it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import torch

T = TypeVar("T")


class Ahead(Generic[T]):
    """A pure function of the step, worked out for `count` steps in a row.

    Between two steps of training the processor has forgotten the code that prepares them; most of its cost is to fetch
    that anew.
    """

    def __init__(self, make: Callable[[int], T], count: int) -> None:
        self._make, self._count = make, count
        self._ready: dict[int, T] = {}

    def at(self, step: int, end: int | None = None) -> T:
        """What the function gives for a step, to one caller alone; of steps from `end` on, nothing is worked out."""
        if step not in self._ready:
            last = step + self._count
            self._ready = {later: self._make(later) for later in range(step, last if end is None else min(last, end))}
        return self._ready.pop(step)


def stream_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed, the same for the same words on every machine."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator at the start of the stream for this purpose."""
    return torch.Generator().manual_seed(stream_seed(seed, *purpose))


def seed_noise(start: int) -> None:
    """Starts torch's own stream, which dropout and stochastic depth draw from, at a seed."""
    torch.default_generator.manual_seed(start)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(start)


def kept_noise(device: torch.device) -> AbstractContextManager[None]:
    """A context that puts torch's own streams, on the CPU and on this device, back as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
