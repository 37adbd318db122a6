"""Random streams: every draw comes from a generator made of the seed and the purpose of the draw."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch


def stream_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for a purpose, the same on every machine."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator at the start of the stream of a purpose."""
    return torch.Generator().manual_seed(stream_seed(seed, *purpose))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators of torch (on the CPU), NumPy and Python start at a seed; afterwards they go on."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def noise(device: torch.device) -> Callable[[int], object]:
    """The function that seeds torch's own stream on a device, from which dropout and stochastic depth draw."""
    return torch.default_generator.manual_seed if device.type == "cpu" else _everywhere


def _everywhere(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def kept_noise(device: torch.device) -> AbstractContextManager[None]:
    """A context that restores torch's own streams, on the CPU and on this device, when it ends."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
