"""A rehearsal: everything that a run does with a network, tried once with two images before the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lth_bench.data.examples import Batch
from lth_bench.models.flops import passage
from lth_bench.models.layer_roles import PRUNABLE, prunable
from lth_bench.models.modes import mode
from lth_bench.pruning.channels import structure
from lth_bench.randomness import kept_noise

Make = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Rehearsal:
    """A function from an initialisation seed to a network, two images with their labels, and the number of classes."""

    make: Make
    batch: Batch
    classes: int

    def fault(self) -> str | None:
        """The first fault of the network, to be put behind its name; None if a run can use it. Raises ModelError."""
        network = self.make(0)
        with kept_noise(self.batch.inputs.device):
            return next(self._faults(network), None)

    def _faults(self, network: nn.Module) -> Iterator[str]:
        yield from _lazy(network)
        yield from _computed(network)
        yield from _shared(network)
        yield from _unrepeatable(network, self.make(0))
        yield from self._outputs(network)
        yield from self._state(network)
        yield from self._measurements(network)

    def _outputs(self, network: nn.Module) -> Iterator[str]:
        """Faults of passes: one and two images in evaluation mode, two in training mode with the loss."""
        for training, count in ((False, 2), (False, 1), (True, 2)):
            inputs, labels = self.batch.inputs[:count], self.batch.labels[:count]
            try:
                with mode(network, training=training):
                    logits = network(inputs)
                    fault = self._shape_fault(logits, count)
                    if training and fault is None:
                        nn.functional.cross_entropy(logits, labels).backward()
            except Exception as error:
                fault = f"cannot take inputs of shape {tuple(inputs.shape[1:])}: {type(error).__name__}: {error}"
            if fault:
                yield f"{fault}{_when(training, count)}"
        network.zero_grad()

    def _shape_fault(self, logits: Any, count: int) -> str | None:
        if not isinstance(logits, Tensor):
            return f"gives a {type(logits).__name__}, wanted one tensor of logits; wrap it so that it gives these alone"
        if logits.shape != (count, self.classes):
            return f"gives outputs of shape {tuple(logits.shape[1:])}, not one for {self.classes} classes"
        return None

    @torch.no_grad()
    def _state(self, network: nn.Module) -> Iterator[str]:
        """A fault of networks that are more than their state: evaluation loads the state into a new network."""
        other = self.make(1)
        other.load_state_dict(network.state_dict())
        with mode(network, training=False), mode(other, training=False):
            one, again = network(self.batch.inputs), other(self.batch.inputs)
        if not torch.allclose(one, again, rtol=1e-4, atol=1e-5 * float(one.abs().max()), equal_nan=True):
            yield (
                "computes something else in a network that was made from another seed and has loaded its weights and "
                "buffers: something random is not in its state dict; register it as a buffer"
            )

    def _measurements(self, network: nn.Module) -> Iterator[str]:
        """Faults of what is measured with one image: FLOPs, and which channels feed which."""
        shape = tuple(self.batch.inputs.shape[1:])
        try:
            passage(network, prunable(network), shape)
            structure(network, prunable(network), shape)
        except Exception as error:
            yield f"cannot be measured with one image of shape {shape}: {type(error).__name__}: {error}"


def _when(training: bool, count: int) -> str:
    if training:
        return " (in training mode)"
    return " (one image in evaluation mode, with which FLOPs and latency are measured)" if count == 1 else ""


def _lazy(network: nn.Module) -> Iterator[str]:
    if names := [name for name, value in [*network.named_parameters(), *network.named_buffers()] if is_lazy(value)]:
        yield f"has no weights before its first pass ({_first(names)}); give its lazy layers their sizes"


def _computed(network: nn.Module) -> Iterator[str]:
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, PRUNABLE)]
    if names := [name or "the network" for name, module in layers if "weight" not in module._parameters]:
        yield (
            f"computes the weights of {len(names)} layers ({_first(names)}) from other tensors, as weight_norm and "
            "spectral_norm do, so that a mask on them would not hold; use a model without"
        )


def _shared(network: nn.Module) -> Iterator[str]:
    places: dict[int, list[str]] = defaultdict(list)
    for name, value in network.named_parameters(remove_duplicate=False):
        places[id(value)].append(name)
    weights = {id(weight) for weight in prunable(network).values()}
    if shared := [names for place, names in places.items() if place in weights and len(names) > 1]:
        yield (
            f"has one weight in several places ({' and '.join(shared[0][:3])}), which masks and counts cannot tell "
            "apart; give each layer a weight of its own"
        )


def _unrepeatable(network: nn.Module, again: nn.Module) -> Iterator[str]:
    values = dict([*again.named_parameters(), *again.named_buffers()])
    changed = [
        name
        for name, value in [*network.named_parameters(), *network.named_buffers()]
        if name not in values or not _equal(value, values[name])
    ]
    if changed:
        yield (
            f"starts from other values when it is made again from the same seed ({_first(changed)}); draw them from "
            "torch's, NumPy's or Python's global generator, which are seeded for it"
        )


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether tensors have the same values, NaN included."""
    return torch.equal(one, other) or (one.is_floating_point() and torch.allclose(one, other, 0, 0, equal_nan=True))


def _first(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
