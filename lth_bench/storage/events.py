"""What observers are told of an experiment: as it proceeds, or afterwards from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from lth_bench.experiments.choices import label
from lth_bench.experiments.experiment import without_defaults
from lth_bench.storage.record import Curve, Identity, Record, builtins

SHOWN = ("sparsity", "test", "timing")
"""The parts of a record whose numbers observers get when an experiment has finished, without those of each layer."""
OF_LAYERS = "/layers/"


class ExperimentStarted(Struct, frozen=True, tag="started"):
    """An experiment begins, perhaps not for the first time: what was told of it before no longer counts."""

    identity: Identity
    directory: str

    @property
    def key(self) -> str:
        return self.identity.key

    @property
    def title(self) -> str:
        """The experiment in a few words."""
        asked, e = self.asked, self.identity.experiment
        return f"{asked['method']} · {asked['model']} · {asked['dataset']} · {e.sparsity:g} · seed {e.seed}"

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for: plain values by name, those inside the experiment as "experiment/recipe/batch_size"."""
        identity, e = self.identity, self.identity.experiment
        names = {
            "key": identity.key,
            "suite": identity.suite,
            "method": identity.label,
            "model": identity.model_label or label(e.model),
            "dataset": identity.dataset_label or label(e.dataset),
            "recipe": identity.recipe,
            "sparsity": e.sparsity,
            "seed": e.seed,
        }
        return names | dict(_leaves({"experiment": builtins(without_defaults(e))}))

    def folder(self, name: str, chosen: str = "") -> Path:
        """The folder that was chosen for an observer, by default its own one in the run directory."""
        return Path(chosen or Path(self.directory, "trackers", name))


class ExperimentMeasured(Struct, frozen=True, tag="measured"):
    """A point of the curve: losses in nats (training: of the last batch), accuracy from 0 to 1, and the weights left.

    `position` counts on where the clock goes back: the rounds of a method lie behind each other.
    """

    step: int
    kept: int
    training_loss: float | None
    validation_loss: float
    validation_accuracy: float
    position: int = 0

    @property
    def values(self) -> dict[str, float]:
        """The numbers by the names under which a record has them."""
        columns = {name: getattr(self, name) for name in Curve.__struct_fields__}
        return {f"curve/{name}": value for name, value in columns.items() if value is not None}


class ExperimentPruned(Struct, frozen=True, tag="pruned"):
    """From this step on, masks keep another number of weights; `position` is that of the curve."""

    step: int
    kept: int
    position: int = 0


class ExperimentFinished(Struct, frozen=True, tag="finished"):
    """An experiment has its record."""

    record: Record

    @property
    def results(self) -> dict[str, float]:
        """The numbers of sparsity, test split and timing by the names under which the record has them."""
        parts = {name: builtins(getattr(self.record, name)) for name in SHOWN}
        numbers = _leaves({name: part for name, part in parts.items() if part})
        return {name: value for name, value in numbers if type(value) in (int, float) and OF_LAYERS not in name}


class ExperimentLeft(Struct, frozen=True, tag="left"):
    """An experiment was left without a record, to begin again later."""


Live = ExperimentMeasured | ExperimentPruned
Event = ExperimentStarted | Live | ExperimentFinished | ExperimentLeft


def replayed(record: Record) -> Iterator[Live]:
    """What was told between the start and the end of an experiment that is done, in the same order."""
    assert record.curve is not None
    prunings, rows = list(record.prunings or []), builtins(record.curve)
    for place, point in enumerate(zip(*(rows[name] for name in Curve.__struct_fields__), strict=True)):
        while prunings and prunings[0].measured <= place:
            yield ExperimentPruned(prunings[0].step, prunings.pop(0).kept)
        yield ExperimentMeasured(*point)
    for pruning in prunings:
        yield ExperimentPruned(pruning.step, pruning.kept)


def _leaves(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values of nested mappings by their path; what is empty is left out."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{above}{name}/")
        elif inner is not None and inner != []:
            yield f"{above}{name}", inner
