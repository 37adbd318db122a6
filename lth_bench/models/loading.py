"""Weights from a file: read as plain tensors, and loaded into a network that they fit."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from lth_bench.errors import ModelError
from lth_bench.hashing import sha256
from lth_bench.models.layer_roles import output_weights

State = Mapping[str, Tensor]
PREFIX = "module."  # put before every name by DataParallel and DistributedDataParallel
SHOWN = 6
Item = TypeVar("Item")


def read_weights(path: Path, digest: str) -> State:
    """The tensors of a file whose SHA-256 is `digest`, by name; runs no code of the file. Raises ModelError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the file of weights {path} cannot be read: {error}") from error
    if f"sha256:{sha256(content)}" != digest:
        raise ModelError(f"the file of weights {path} has changed since the run was planned; start the run again")
    state = _parsed(path, content)
    if not isinstance(state, Mapping) or not all(map(_is_named, state.items())):
        raise ModelError(
            f"{path} is no state dict, which has a tensor for every name; save the network's state_dict() alone"
        )
    return state


def _is_named(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _parsed(path: Path, content: bytes) -> object:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a reader stumbles over
        reason = "" if path.suffix == ".safetensors" else ", or holds objects that could run code when they are read"
        raise ModelError(
            f"{path} is damaged{reason} ({type(error).__name__}); save the network's state_dict() alone"
        ) from error


def load_weights(network: nn.Module, weights: State, left_out: Iterable[str] = ()) -> None:
    """Loads weights into a network, in place; all but those of the layers whose weights are `left_out`.

    Raises ModelError with all that does not fit.
    """
    own, given = (_without(state, left_out) for state in (network.state_dict(), _unprefixed(weights)))
    if misfits := dict(_misfits(own, given)):
        in_output = not _without(misfits, output_weights(network))
        remedy = "output_layer = 'new' draws another output layer" if in_output else "take the model that they are of"
        raise ModelError(f"the weights of the file do not fit: {_listed(list(misfits.values()))}; {remedy}")
    buffers = {name for name, _ in network.named_buffers()}  # those of causal masks hold infinite constants
    faulty = {name: value.isnan() if name in buffers else ~value.isfinite() for name, value in given.items()}
    if faulty := {name: places for name, places in faulty.items() if bool(places.any())}:
        raise ModelError(
            f"the weights of the file are not all finite: {_listed(list(faulty))}; take those of a sound network"
        )
    network.load_state_dict(given, strict=False)


def _unprefixed(weights: State) -> dict[str, Tensor]:
    """The weights without the prefix of parallel training, where every name has it."""
    prefix = PREFIX if all(name.startswith(PREFIX) for name in weights) else ""
    return {name.removeprefix(prefix): value for name, value in weights.items()}


def _without(named: Mapping[str, Item], weights: Iterable[str]) -> dict[str, Item]:
    """What is named, but for all that belongs to the layers of these weights."""
    layers = {name.rpartition(".")[0] for name in weights}
    return {name: item for name, item in named.items() if name.rpartition(".")[0] not in layers}


def _misfits(own: State, given: State) -> Iterator[tuple[str, str]]:
    """What does not fit, in words by name: tensors that are missing, of another shape or kind, or too many."""
    for name in {**own, **given}:
        wanted, found = (_form(state[name]) if name in state else "" for state in (own, given))
        if not found:
            yield name, f"{name} is missing"
        elif not wanted:
            yield name, f"the model has no {name}"
        elif wanted != found:
            yield name, f"{name} is {found} in the file and {wanted} in the model"


def _form(value: Tensor) -> str:
    """The shape of a tensor in words, and its type unless it holds floats."""
    shape = "×".join(map(str, value.shape)) or "one number"
    return shape if value.is_floating_point() else f"{shape} of {str(value.dtype).removeprefix('torch.')}"


def _listed(words: list[str]) -> str:
    more = f", and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"{', '.join(words[:SHOWN])}{more}"
