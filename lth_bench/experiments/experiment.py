"""An experiment as plain data, whose key is a hash of its meaning."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lth_bench.experiments.recipe import Recipe
from lth_bench.hashing import canonical, sha256


@dataclass(frozen=True)
class Choice:
    """A registered name, the arguments that differ from their default, and the revision of what is registered."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    revision: int = 1


@dataclass(frozen=True)
class Origin:
    """The data set and recipe that a ticket was found with; None where they are those that it is trained with."""

    dataset: Choice | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True)
class After:
    """What follows the final mask, the same for every method: nothing, new statistics of batch norms, or a recipe."""

    batch_norm: bool = False
    recipe: Recipe | None = None


NOTHING = After()
LATER = {"later": True}  # marks fields that the first records do not have


@dataclass(frozen=True)
class Experiment:
    """All that decides a result.

    A `control` starts from the ticket of `base`, the experiment that is the same without it. `origin` names the data
    set and recipe of `base` where they differ from those of this experiment. A `pattern` such as "2:4" is what layers
    have to hold, and the sparsity then that of such a layer.
    """

    dataset: Choice
    model: Choice
    recipe: Recipe
    pruner: Choice
    sparsity: float
    seed: int
    control: Choice | None = None
    protocol: int = 1
    origin: Origin | None = None
    pattern: str = field(default="", metadata=LATER)
    after: After = field(default=NOTHING, metadata=LATER)

    @cached_property
    def key(self) -> str:
        """Hash of canonical JSON in which fields at their default are left out."""
        return sha256(canonical(without_defaults(self)).encode())[:20]

    @property
    def base(self) -> Experiment | None:
        """The experiment whose ticket a control reads; None without a control."""
        if self.control is None:
            return None
        origin = self.origin or Origin()
        dataset, recipe = origin.dataset or self.dataset, origin.recipe or self.recipe
        return dataclasses.replace(self, control=None, origin=None, dataset=dataset, recipe=recipe)


def without_defaults(value: Any) -> Any:
    """A dataclass as a dict of the fields that differ from their default, recursively."""
    kind: Any = type(value)
    fields = _defaults(kind)
    if fields is None:
        return value
    items = {name: (getattr(value, name), default) for name, default in fields.items()}
    return {name: without_defaults(item) for name, (item, default) in items.items() if item != default}


@cache
def _defaults(kind: type) -> dict[str, Any] | None:
    """The fields of a dataclass and their defaults; None for another type."""
    return {f.name: _default(f) for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None


def _default(spec: dataclasses.Field[Any]) -> Any:
    if spec.default_factory is not dataclasses.MISSING:
        return spec.default_factory()
    return spec.default


@dataclass(frozen=True)
class Planned:
    """An experiment with the names that tables give its method and recipe; `own_recipe` if it is not the suite's.

    A `helper` is no experiment of the suite: it only finds the tickets of others. Where tables name the data set or the
    model otherwise than experiments do, `dataset_label` and `model_label` say how. `weights` is where the file lies
    that the model starts from, if there is one.
    """

    experiment: Experiment
    label: str
    recipe: str
    own_recipe: bool
    helper: bool = False
    dataset_label: str = ""
    model_label: str = ""
    weights: Path | None = None
