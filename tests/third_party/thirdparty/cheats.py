"""Pruners that try to look better than they are."""

import gc
from dataclasses import dataclass

from lth_bench import hookimpl


def pruned_by_magnitude(session):
    session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})


@dataclass(frozen=True)
class Honest:
    """What the others are compared with."""

    def __call__(self, session):
        pruned_by_magnitude(session)
        session.train()


@dataclass(frozen=True)
class Hooker:
    """Leaves hooks, local and global, that change what a network answers."""

    def __call__(self, session):
        from torch import nn

        pruned_by_magnitude(session)
        session.train()
        session.model.register_forward_hook(lambda module, inputs, output: -output)
        nn.modules.module.register_module_forward_hook(lambda module, inputs, output: -output)


@dataclass(frozen=True)
class Patcher:
    """Changes how its network, and every linear layer, computes after training."""

    def __call__(self, session):
        from torch import nn

        pruned_by_magnitude(session)
        session.train()
        session.model.forward = lambda inputs: nn.functional.one_hot(inputs.sum((1, 2, 3)).long() % 10, 10).float()
        nn.Linear.forward = lambda self, inputs: nn.functional.linear(inputs, -self.weight, self.bias)


@dataclass(frozen=True)
class Grower:
    """Adds a parameter that no mask covers."""

    def __call__(self, session):
        import torch

        session.model.secret = torch.nn.Parameter(torch.ones(1000))
        pruned_by_magnitude(session)
        session.train()


@dataclass(frozen=True)
class Rebuilder:
    """Puts a larger network in the place of the one that was given."""

    def __call__(self, session):
        from torch import nn

        pruned_by_magnitude(session)
        session.train()
        session.model.fc1 = nn.Linear(64, 600)
        session.model.fc2 = nn.Linear(600, 100)


@dataclass(frozen=True)
class Liar:
    """Hands in masks that say less than there is."""

    def __call__(self, session):
        import torch

        session.train()
        session.topology.masks = {name: torch.zeros_like(mask) for name, mask in session.masks.items()}
        session._check_in_force = lambda: None


@dataclass(frozen=True)
class Peeker:
    """Looks for the test split among all that its process holds."""

    def __call__(self, session):
        import numpy
        import torch

        from lth_bench.data.examples import Examples

        held = [thing for thing in gc.get_objects() if type(thing) in (Examples, torch.Tensor, numpy.ndarray)]
        sizes = {len(thing.labels if isinstance(thing, Examples) else thing) for thing in held if _has_length(thing)}
        if 400 in sizes:
            raise RuntimeError("found the test split")
        pruned_by_magnitude(session)
        session.train()


def _has_length(thing):
    return not hasattr(thing, "ndim") or thing.ndim > 0


@hookimpl
def register_pruners(register):
    for pruner in (Honest, Hooker, Patcher, Grower, Rebuilder, Liar, Peeker):
        register(pruner.__name__.lower(), pruner)
