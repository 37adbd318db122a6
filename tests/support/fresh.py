"""Functions in processes of their own, forked from one that has imported much and never computed anything."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["lth_bench.running.worker", "lth_bench.reports.report"])


def fresh(function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
    """What a function of a module returns in a new process, which may fork, limit itself and set signals."""
    with ProcessPoolExecutor(1, CONTEXT, max_tasks_per_child=1) as pool:
        return pool.submit(function, *arguments, **named).result()
