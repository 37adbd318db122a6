"""Tickets: the result of a search, in one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from lth_bench.errors import Damaged
from lth_bench.hashing import sha256
from lth_bench.pruning.masks import Masks
from lth_bench.storage.files import publish
from lth_bench.storage.tensors import State, pack, part, read_tensors, serialized, unpack
from lth_bench.storage.zoo import PackedMasks


@dataclass(frozen=True)
class Ticket:
    """The step and the state, weights and buffers, when the final masks took force; the masks; the final state.

    `channels` has a mask of the channels that a structured method kept, by layer; it is empty for other methods.
    """

    step: int
    start: State
    masks: Masks
    final: State
    channels: Masks = field(default_factory=dict)


def write_ticket(path: Path, ticket: Ticket) -> str:
    """Publishes a ticket, masks as packed bits, and returns the SHA-256 of the file."""
    masks = {name: pack(mask) for name, mask in ticket.masks.items()}
    parts = {"start": ticket.start, "final": ticket.final, "mask": masks, "channel": ticket.channels}
    tensors = {f"{prefix}/{name}": value for prefix, state in parts.items() for name, value in state.items()}
    content = serialized({**tensors, "step": torch.tensor(ticket.step)})
    publish(path, content)
    return sha256(content)


def read_ticket(path: Path, digest: str) -> Ticket:
    """Reads a ticket and checks it against the hash in its record; raises Damaged and FileFault."""
    try:
        return _ticket(read_tensors(path, digest))
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise Damaged(f"{path} is no ticket: {type(error).__name__}: {error}") from error


def packed_ticket(packed: PackedMasks, step: int) -> Ticket:
    """The ticket of masks that were published without weights: its states are empty."""
    masks = {n: unpack(torch.from_numpy(bits), torch.Size(packed.shapes[n])) for n, bits in packed.bits.items()}
    channels = {name: torch.from_numpy(kept) for name, kept in packed.channels.items()}
    return Ticket(step, {}, masks, {}, channels)


def _ticket(tensors: State) -> Ticket:
    """The ticket that tensors make. Raises ValueError and the like if they make none."""
    start, final = part(tensors, "start/"), part(tensors, "final/")
    if {name: value.shape for name, value in start.items()} != {name: value.shape for name, value in final.items()}:
        raise ValueError("its first and its final state have other tensors or shapes")
    masks = {name: unpack(bits, final[name].shape) for name, bits in part(tensors, "mask/").items()}
    step, channels = int(tensors["step"]), part(tensors, "channel/")
    if step < 0 or any(mask.dtype != torch.bool for mask in channels.values()):
        raise ValueError(f"its step is {step}, or its masks of channels are no truth values")
    return Ticket(step, start, masks, final, channels)
