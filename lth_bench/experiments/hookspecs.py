"""Hooks that a plugin may implement; each only registers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy

from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.recipe import Recipe

hookspec = pluggy.HookspecMarker("lth_bench")
hookimpl = pluggy.HookimplMarker("lth_bench")


@hookspec
def register_pruners(register: Callable[[str, type], None]) -> None:
    """Call `register(name, pruner)`: a frozen dataclass whose instances are called with a Session."""


@hookspec
def register_controls(register: Callable[[str, type], None]) -> None:
    """Call `register(name, control)`: a frozen dataclass whose instances are called with a Session and a Base.

    Class attributes, if it has them: `question`, what it asks of a method; `is_rival = True`, if a winning ticket must
    beat it; and `reads_ticket = False`, if it searches anew instead of reading a ticket.
    """


@hookspec
def register_models(register: Callable[[str, Callable[..., Any]], None]) -> None:
    """Call `register(name, function)`; lth-bench registers the function with timm before it makes a model."""


@hookspec
def register_datasets(register: Callable[[str, Dataset | type], None]) -> None:
    """Call `register(name, dataset)`: a Dataset, or a frozen dataclass whose instances return one when called."""


@hookspec
def register_recipes(register: Callable[[str, Recipe], None]) -> None:
    """Call `register(name, recipe)`."""


@hookspec
def register_suites(register: Callable[[str, Path], None]) -> None:
    """Call `register(name, path)` with the path of a suite file."""


@hookspec
def register_observers(register: Callable[[str, type], None]) -> None:
    """Call `register(name, observer)`: a frozen dataclass whose instances are called when an experiment has started.

    They return an object with those of the methods `measured`, `pruned`, `finished` and `left` that it needs. Class
    attribute, if it has it: `needs`, what to install, such as "my-package[tracker]", by the module that comes with it.
    """


@hookspec
def register_analyses(register: Callable[[str, type], None]) -> None:
    """Call `register(name, analysis)`: a frozen dataclass whose instances are called with a Study and yield rows.

    Class attributes, if it has them: `question`, what it asks of tickets; `caption`, how to read its figure and table;
    and `reads_ticket = False` or `reads_data = False`, if records are enough, or tickets.
    """


@hookspec
def register_engines(register: Callable[[str, type], None]) -> None:
    """Call `register(name, engine)`: a frozen dataclass whose instances are called with a Work, and supply processes.

    Its fields are options of `lth-bench run --on NAME`. See `lth_bench.running.engines.WorkEngine` for the rest.
    """
