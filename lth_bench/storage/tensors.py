"""Dicts of tensors as safetensors, in one fixed order, so that equal tensors make equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lth_bench.errors import Damaged, FileFault
from lth_bench.hashing import sha256
from lth_bench.storage.reading import regular

NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}


def serialized(tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
    """The parts of a safetensors file without metadata, uncopied: the widest types first, then by name.

    `safetensors.torch.save` copies three times, which takes ten times as long as hashing the result.
    """
    on_host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    order = sorted(on_host, key=lambda name: (-on_host[name].element_size(), name))
    header, start = {}, 0
    for name in order:
        value = on_host[name]
        end = start + value.numel() * value.element_size()
        header[name] = {"dtype": NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    filled = [on_host[name] for name in order if on_host[name].numel()]
    return [len(text).to_bytes(8, "little") + text, *(_bytes(value) for value in filled)]


def read_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """The tensors of a file, mapped into memory, if their SHA-256 is `digest`; raises Damaged and FileFault."""
    try:
        tensors = load_file(regular(path))
        actual = sha256(serialized(tensors))
    except OSError as error:
        raise FileFault(f"cannot read {path}: {error}") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise Damaged(f"{path} holds no tensors of lth-bench: {type(error).__name__}: {error}") from error
    if actual != digest:
        raise Damaged(f"{path} is damaged: its content does not have the SHA-256 {digest[:12]}…")
    return tensors


def pack(mask: Tensor) -> Tensor:
    """A boolean tensor as packed bits."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy().ravel()))


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """The boolean tensor of this shape from packed bits. Raises ValueError for another number or type of bits."""
    if bits.dtype != torch.uint8 or bits.shape != (-(-shape.numel() // 8),):
        raise ValueError(f"a mask of {shape.numel():,} weights is not packed in {tuple(bits.shape)} of {bits.dtype}")
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=shape.numel()).astype(bool)).view(shape)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _bytes(value: Tensor) -> memoryview:
    return memoryview(value.view(-1).view(torch.uint8).numpy().data).cast("B")


State = dict[str, Tensor]
