"""Pruners that misbehave."""

import os
from dataclasses import dataclass

from lth_bench import hookimpl


@dataclass(frozen=True)
class Raiser:
    """Raises half-way."""

    def __call__(self, session):
        print("about to raise")
        session.train(until=5)
        raise RuntimeError("this method | has a <bug>")


@dataclass(frozen=True)
class NanWriter:
    """Writes NaN into a weight."""

    def __call__(self, session):
        session.train(until=5)
        next(iter(session.weights.values())).data.fill_(float("nan"))
        session.train()


@dataclass(frozen=True)
class Quitter:
    """Ends its process."""

    def __call__(self, session):
        os._exit(7)


@dataclass(frozen=True)
class Leaker:
    """Writes under its own mask after training."""

    def __call__(self, session):
        session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
        for weight in session.weights.values():
            weight.data.add_(1)


@hookimpl
def register_pruners(register):
    for pruner in (Raiser, NanWriter, Quitter, Leaker):
        register(pruner.__name__.lower(), pruner)
