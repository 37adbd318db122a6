"""Tickets: what a finished search hands on, in one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from lth_bench.files import FileFault, publish, sha256
from lth_bench.masks import Masks
from lth_bench.monitor import State


@dataclass(frozen=True)
class Ticket:
    """Weights, buffers and step at the moment the final mask took force, the masks, and the final state."""

    step: int
    start: State
    masks: Masks
    final: State


def write_ticket(path: Path, ticket: Ticket) -> str:
    """Publishes a ticket, masks as packed bits, and returns the SHA-256 of the file."""
    parts = {"start": ticket.start, "final": ticket.final, "mask": {n: _pack(m) for n, m in ticket.masks.items()}}
    tensors = {
        f"{part}/{name}": value.cpu().contiguous() for part, state in parts.items() for name, value in state.items()
    }
    content = save({**tensors, "step": torch.tensor(ticket.step)})
    publish(path, content)
    return sha256(content)


def read_ticket(path: Path, digest: str) -> Ticket:
    """Reads a ticket and checks it against the hash in its record; raises FileFault."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFault(f"cannot read the ticket {path}: {error}") from error
    if sha256(content) != digest:
        raise FileFault(f"the ticket {path} is damaged: its SHA-256 is not the one in its record")
    tensors = load(content)
    final = _part(tensors, "final/")
    masks = {name: _unpack(bits, final[name].shape) for name, bits in _part(tensors, "mask/").items()}
    return Ticket(int(tensors["step"]), _part(tensors, "start/"), masks, final)


def _part(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _pack(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().numpy().ravel()))


def _unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=shape.numel()).astype(bool)).view(shape)
