"""Checkpoints in a cache laid out as Hugging Face's."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import timm
import torch

REVISION = "0123456789abcdef0123456789abcdef01234567"


def in_hub_cache(cache: Path, repository: str, name: str = "model.safetensors") -> Path:
    """Where the cache shows a file of a repository; the blob that it links to is yet to be written."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    shown = folder / "snapshots" / REVISION / name
    for part in (shown.parent, folder / "refs", folder / "blobs"):
        part.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(REVISION)
    if not shown.is_symlink():
        shown.symlink_to(Path("..", "..", "blobs", f"blob-of-{name}"))
    return shown


def checkpoint(name: str, seed: int = 99, **arguments: object) -> dict[str, torch.Tensor]:
    """The state of a model of timm with the weights of a seed."""
    torch.manual_seed(seed)
    state = timm.create_model(name, **arguments).state_dict()
    return {key: value.contiguous() for key, value in state.items()}


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    safetensors.torch.save_file(state, path)
    return path
