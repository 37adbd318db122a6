"""A benchmark of neural-network pruning methods on the same models, data and recipes.

The names here are what plugins are made of; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import version

    from lth_bench.allocation import erk, global_rounds, layer_rates, layerwise, layerwise_rounds, uniform
    from lth_bench.data import Batch
    from lth_bench.datasets import DataError, Dataset, Listing
    from lth_bench.durations import Duration
    from lth_bench.hookspecs import hookimpl
    from lth_bench.parameters import Count, Rate, Share
    from lth_bench.recipe import Recipe
    from lth_bench.retraining import Retraining, retrain
    from lth_bench.scores import chance, magnitude
    from lth_bench.session import Session, Unsuitable
    from lth_bench.tickets import Base, Ticket

    __version__ = version("lth-bench")

HOMES = {
    "allocation": ["erk", "global_rounds", "layer_rates", "layerwise", "layerwise_rounds", "uniform"],
    "data": ["Batch"],
    "datasets": ["DataError", "Dataset", "Listing"],
    "durations": ["Duration"],
    "hookspecs": ["hookimpl"],
    "parameters": ["Count", "Rate", "Share"],
    "recipe": ["Recipe"],
    "retraining": ["Retraining", "retrain"],
    "scores": ["chance", "magnitude"],
    "session": ["Session", "Unsuitable"],
    "tickets": ["Base", "Ticket"],
}

__all__ = [
    "Base",
    "Batch",
    "Count",
    "DataError",
    "Dataset",
    "Duration",
    "Listing",
    "Rate",
    "Recipe",
    "Retraining",
    "Session",
    "Share",
    "Ticket",
    "Unsuitable",
    "__version__",
    "chance",
    "erk",
    "global_rounds",
    "hookimpl",
    "layer_rates",
    "layerwise",
    "layerwise_rounds",
    "magnitude",
    "retrain",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("lth-bench")
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"lth_bench.{module}"), name)
    raise AttributeError(f"module 'lth_bench' has no attribute {name!r}")
