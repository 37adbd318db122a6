"""Random streams: every draw comes from a generator made of the seed and what it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch


def stream_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed, the same for the same words on every machine."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator at the start of the stream for this purpose."""
    return torch.Generator().manual_seed(stream_seed(seed, *purpose))


def noise(device: torch.device) -> Callable[[int], object]:
    """What starts torch's own stream, which dropout and stochastic depth draw from on this device, at a seed."""
    return torch.default_generator.manual_seed if device.type == "cpu" else _everywhere


def _everywhere(start: int) -> None:
    torch.default_generator.manual_seed(start)
    torch.cuda.manual_seed_all(start)


def kept_noise(device: torch.device) -> AbstractContextManager[None]:
    """A context that puts torch's own streams, on the CPU and on this device, back as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
