"""Hidden units that may be exchanged for one another: the permutation symmetries of a network."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from lth_bench.models.layer_roles import prunable
from lth_bench.models.modes import mode
from lth_bench.pruning.channels import Structure
from lth_bench.pruning.wiring import Wiring, untold, wiring
from lth_bench.pruning.zero_flow import layer_of

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Use:
    """A tensor of a network's state, one of its axes, and the places along it of every unit, units × places."""

    tensor: str
    axis: int
    places: Tensor

    @property
    def is_learned(self) -> bool:
        """Whether it is a parameter, and no running statistic."""
        return self.tensor.rpartition(".")[2] in ("weight", "bias")


@dataclass(frozen=True)
class Units:
    """Hidden units of one kind: the network computes the same whatever their order.

    What residual connections add up is one unit, with weights in every layer that is added.
    """

    uses: tuple[Use, ...]

    def __len__(self) -> int:
        return len(self.uses[0].places)


@dataclass(frozen=True)
class _Site:
    """Tensors, an axis of theirs, and the number of the unit at each place along it, -1 for none."""

    tensors: tuple[str, ...]
    axis: int
    units: Numbers


def hidden_units(model: nn.Module, shape: tuple[int, ...]) -> list[Units]:
    """The hidden units of a network for inputs of this shape, C×H×W, in groups whose members may change places.

    Raises Unsuitable where those of some layer may not, as in attention and in grouped convolutions.
    """
    whole = Structure(model, prunable(model), {}, shape)
    for name in whole.weights:
        if getattr(layer_of(model, name), "groups", 1) > 1:
            raise untold(name, "is a grouped convolution")
    sites = list(_sites(whole, wiring(whole)))
    groups = [Units(tuple(_uses(sites, members))) for members in _kinds(sites)]
    _check_symmetric(model, groups, shape)
    return groups


def permuted(state: Mapping[str, Tensor], groups: Sequence[Units], orders: Sequence[Tensor]) -> dict[str, Tensor]:
    """Tensors by name, in which unit number i of a group has become the one that the group's order has at i.

    Of what the units use, tensors may be absent, or vectors of output channels; what no unit uses stays as it is.
    """
    moved = {name: value.clone() for name, value in state.items()}
    for units, order in zip(groups, orders, strict=True):
        for use in units.uses:
            if (value := moved.get(use.tensor)) is not None and use.axis < value.dim():
                places = use.places.to(value.device)
                chosen = value.index_select(use.axis, places[order.to(value.device)].flatten())
                moved[use.tensor] = value.index_copy(use.axis, places.flatten(), chosen)
    return moved


def _sites(whole: Structure, found: Wiring) -> Iterator[_Site]:
    """Where units are used; channels that are read at one place are one unit."""
    read = {(name, 1): writers for name, writers in found.channels.items()}
    read |= {(name, 0): writers for name, writers in found.norms.items()}
    sizes: dict[Any, int] = {name: len(weight) for name, weight in whole.weights.items()}
    sizes |= {place: len(channels) for place, writers in read.items() for channels in writers.values()}
    first = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    edges = [
        (first[writer] + channels.numpy()[at], first[place] + at)
        for place, writers in read.items()
        for writer, channels in writers.items()
        for at in [np.flatnonzero(channels.numpy() >= 0)]
    ]
    units = _joined(sum(sizes.values()), edges)
    for place, size in sizes.items():
        name, axis = place if isinstance(place, tuple) else (place, 0)
        yield _Site(_tensors(whole, name, axis), axis, units[first[place] : first[place] + size])


def _tensors(whole: Structure, name: str, axis: int) -> tuple[str, ...]:
    """What a unit uses where it is written or read: of a layer that reads it the weight alone; else all vectors too."""
    if axis == 1:
        return (name,)
    module = name.removesuffix(".weight") if name in whole.weights else name
    return tuple(
        key for key, value in whole.model.state_dict().items() if key.rpartition(".")[0] == module and value.dim()
    )


def _joined(size: int, edges: list[tuple[Numbers, Numbers]]) -> Numbers:
    """The number of the part of a graph of this size in which each node is, -1 for those without edges."""
    one, other = np.concatenate([np.zeros((2, 0), dtype=np.int64), *map(np.stack, edges)], axis=1)
    graph = scipy.sparse.coo_array((np.ones(len(one)), (one, other)), shape=(size, size))
    units = np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], dtype=np.int64)
    return np.where(np.isin(np.arange(size), [one, other]), units, -1)


def _kinds(sites: list[_Site]) -> list[Numbers]:
    """The units that are used at the same sites, equally often, and read by some layer; in the order of the network."""
    counts = np.stack([np.bincount(site.units + 1, minlength=1 + _most(sites))[1:] for site in sites], axis=1)
    read = counts[:, [site.axis == 1 for site in sites]].any(axis=1)
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    members = [np.flatnonzero((kind == number) & read) for number in range(len(kinds))]
    return sorted((units for units in members if len(units) > 1), key=lambda units: int(units[0]))


def _most(sites: list[_Site]) -> int:
    return 1 + int(max(site.units.max() for site in sites))


def _uses(sites: list[_Site], members: Numbers) -> Iterator[Use]:
    for site in sites:
        at = np.flatnonzero(np.isin(site.units, members))
        if len(at):
            places = at[np.argsort(site.units[at], kind="stable")].reshape(len(members), -1)
            yield from (Use(tensor, site.axis, torch.from_numpy(places)) for tensor in site.tensors)


@torch.no_grad()
def _check_symmetric(model: nn.Module, groups: list[Units], shape: tuple[int, ...]) -> None:
    """Raises Unsuitable if a network of random weights computes something else once its units have changed places."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(2, *shape, generator=draws, dtype=torch.float64)
    other = copy.deepcopy(model).cpu().double()
    for value in (*other.parameters(), *other.buffers()):
        if value.is_floating_point():
            value.copy_(_random(value.shape, draws))
    orders = [torch.randperm(len(units), generator=draws) for units in groups]
    with mode(other, training=False):
        before = other(images)
        other.load_state_dict(permuted(other.state_dict(), groups, orders))
        after = other(images)
    if not torch.allclose(before, after, rtol=1e-6, atol=1e-9 * float(before.abs().max())):
        raise untold(next(iter(prunable(model))), "or a later one does more to its channels than pass them on")


def _random(shape: torch.Size, draws: torch.Generator) -> Tensor:
    """Positive numbers for vectors such as scales and variances, others of both signs for weights."""
    if len(shape) < 2:
        return torch.rand(shape, generator=draws, dtype=torch.float64) + 0.5
    return torch.randn(shape, generator=draws, dtype=torch.float64).div(float(shape[1:].numel()) ** 0.5)
