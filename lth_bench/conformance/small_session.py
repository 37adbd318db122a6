"""A Session small enough for pencil and paper."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lth_bench.data.examples import Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.recipe import Recipe
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup


def small_session(
    network: Callable[[], nn.Module], inputs: Tensor, labels: Tensor, sparsity: float = 0.5, pattern: str = ""
) -> Session:
    """A Session on these examples, floats N×… and labels N, whose one step of training hardly moves the weights.

    A pattern such as "2:4" takes the place of the sparsity.
    """
    data = Examples(inputs, labels)
    recipe = Recipe(Duration("1it"), len(labels), 1e-12, measure_every=Duration("1it"))
    held = parsed(pattern) if pattern else None
    return Session(Setup(lambda seed: network(), data, data, recipe, sparsity, 0, pattern=held))
