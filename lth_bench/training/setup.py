"""The parts that a Session is made of, and the roles of those who accompany it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import nn

from lth_bench.data.examples import Source
from lth_bench.experiments.patterns import Pattern
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.layer_roles import prunable
from lth_bench.models.predictions import nothing
from lth_bench.storage.events import ExperimentMeasured, ExperimentPruned

Tell = Callable[[ExperimentMeasured | ExperimentPruned], None]
Session = TypeVar("Session", contravariant=True)  # a type variable, because Session itself imports this module


class SharedTraining(Protocol[Session]):
    """Trains one Session, perhaps by looking up training that was computed before."""

    def attach(self, session: Session) -> None:
        """Receives the Session when it is made."""

    def train(self, session: Session, end: int) -> None:
        """Brings the Session to step `end`, as if it had computed all of it. Raises Interrupted and Diverged."""


class Observer(Protocol[Session]):
    """Is told what a Session does; everything else that happens is the pruner's doing."""

    def attach(self, session: Session) -> None:
        """Receives the Session when it is made."""

    def entered(self) -> None:
        """The pruner has called the Session, which has not changed anything yet."""

    def left(self) -> None:
        """The Session has done what the pruner asked for."""

    def tick_opened(self) -> None:
        """A tick of the clock has begun."""

    def tick_closed(self) -> None:
        """An update or a rewiring has ended the tick; the clock has not moved yet."""

    def masks_set(self, *, rewired: bool) -> None:
        """Other masks are in force; `rewired` ones may keep weights that were pruned."""

    def finished(self) -> None:
        """The pruner has returned."""


@dataclass(frozen=True)
class Setup:
    """The parts of a Session: a function from an initialisation seed to a network, data, recipe, target and seed.

    `prunable` finds the weights that may be pruned. A memory looks up segments that were trained before; `progress` is
    called at every tick and pass, and `tell`, where somebody listens, with points of the curve and prunings. Where
    `network` loads a file, `drawn` draws all weights. With a `pattern`, the target is what holding it comes to.
    """

    network: Callable[[int], nn.Module]
    training: Source
    validation: Source
    recipe: Recipe
    sparsity: float
    seed: int
    memory: SharedTraining[Any] | None = None
    progress: Callable[[], None] = nothing
    prunable: Callable[[nn.Module], dict[str, nn.Parameter]] = prunable
    observer: Observer[Any] | None = None
    drawn: Callable[[int], nn.Module] | None = None
    pattern: Pattern | None = None
    tell: Tell | None = None
