"""Random streams: every draw comes from a generator made of the seed and what it is for."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager

import torch


def stream_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed, the same for the same words on every machine."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Seeds(dict[int, int]):
    """By step, the seeds for one purpose; those of the next steps are worked out at once."""

    def __init__(self, seed: int, purpose: str) -> None:
        super().__init__()
        self._seed, self._purpose = seed, purpose

    def __missing__(self, step: int) -> int:
        self.clear()
        self.update({later: stream_seed(self._seed, self._purpose, later) for later in range(step, step + 50)})
        return self[step]


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
