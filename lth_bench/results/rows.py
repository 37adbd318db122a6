"""Rows of tables from records."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import msgspec

from lth_bench.errors import FileFault
from lth_bench.experiments.choices import label
from lth_bench.experiments.experiment import NOTHING, Choice, Experiment, without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.results.costs import Costing, Costs
from lth_bench.results.evidence import Evidence, Trouble
from lth_bench.results.excerpts import NOWHERE, Asked, Excerpt
from lth_bench.storage.record import DataHashes, Environment, Point, Sparsity, decoder

OFF_TARGET = "off_target"  # the note by which a pruner says why it misses its target
COMPARABLE = ("lth-bench", "torch", "timm", "device", "threads")  # where these are equal, numbers compare


class EnvironmentWords(NamedTuple):
    """What may change numbers, in words: versions and machine, the code of the method, and that of model and data."""

    numbers: str
    method_code: str
    network_code: str


class MethodColumns(NamedTuple):
    """The columns that are the same at all sparsities and seeds of a method.

    `names` and `revisions` are those of the data set, the model, the pruner and the control; `has_sequel` tells whether
    something follows the mask, and `pattern` is such as "2:4", or empty.
    """

    dataset_choice: str
    model_choice: str
    pruner_choice: str
    control_choice: str
    pruner: str
    control: str
    recipe_hash: str
    meaning: str
    base: str
    names: tuple[str, ...]
    revisions: tuple[int, ...]
    has_sequel: bool
    pattern: str


class Measures(NamedTuple):
    """The measurements of an experiment; accuracies and calibration error in per cent."""

    sparsity: float
    effective_sparsity: float
    collapsed_layers: float
    kept_zeros: float
    last_accuracy: float
    best_validation_accuracy: float
    early_stop_accuracy: float
    last_step: float
    best_validation_step: float
    early_stop_step: float
    ticket_step: float
    censored: bool
    loss: float
    calibration_error: float
    top5_accuracy: float
    steps: int
    latency: float
    seconds: float
    peak_memory: float


COLUMNS = (
    *(
        "key",
        "suite",
        "trained_with",
        "own_recipe",
        "helper",
        "dataset_label",
        "model_label",
        "label",
        "asked",
        "seed",
        "status",
    ),
    *MethodColumns._fields,
    *Measures._fields,
    *Costs._fields,
    *("environment", "unfit", "off_target", "data", "method_code", "network_code"),
)
Row = tuple[Any, ...]


class Reader:
    """Makes rows of records, values of `COLUMNS`; parts that many records share are decoded once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.recipes: dict[str, dict[str, Any]] = {}
        self._evidence = Evidence()
        self._abouts: dict[tuple[bytes, ...], MethodColumns] = {}
        self._costs = Costing()
        self._environments: dict[bytes, EnvironmentWords] = {}
        self._counts: Counter[bytes] = Counter()
        self._texts: dict[str, str] = {}

    def add(self, record: Excerpt) -> None:
        try:
            self.rows.append(self._row(record))
        except (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise FileFault(f"the record {record.key} does not have the fields of a record: {words}") from error

    def evidence(self) -> Evidence:
        """The evidence behind all rows so far."""
        for environment, times in self._counts.items():
            versions = msgspec.json.decode(environment) or {}
            for name, counts in self._evidence.environment.items():
                if name in versions:
                    counts[str(versions[name])] += times
        self._counts.clear()
        return self._evidence

    def _row(self, record: Excerpt) -> Row:
        asked = _EXPERIMENT.decode(record.experiment)
        measures = _measures(record)
        row = (
            record.key,
            self._one(record.suite),
            self._one(record.recipe),
            record.own_recipe,
            record.helper,
            self._one(record.dataset_label),
            self._one(record.model_label),
            self._one(record.label),
            asked.sparsity,
            asked.seed,
            self._one(record.status),
            *self._about(asked, record),
            *measures,
            *self._costs(record),
            self._environment(bytes(record.environment)).numbers,
            self._one("; ".join(record.unfit or [])),
            self._one(str((record.notes or {}).get(OFF_TARGET, ""))),
            self._one(_digests(record.data) if record.data and record.status == "done" else ""),
            *self._environment(bytes(record.environment))[1:],
        )
        if record.status != "missing":
            self._count(record, measures.steps)
        return row

    def _count(self, record: Excerpt, steps: int) -> None:
        evidence, timing = self._evidence, record.timing
        evidence.suites.add(record.suite)
        self._counts[bytes(record.environment)] += 1
        if timing and timing.steps_computed is not None:  # only records that say what was computed count
            evidence.computed += timing.steps_computed
            evidence.charged += steps
        evidence.seconds += timing.seconds if timing else 0.0
        if record.status != "done":
            kind, message = (record.error.kind, record.error.words) if record.error else ("", "")
            evidence.troubles.append(Trouble(record.key, record.label, record.status, kind, message))

    def _about(self, asked: Asked, record: Excerpt) -> MethodColumns:
        shared = asked.shared()
        if shared not in self._abouts:
            self._abouts[shared] = self._understood(_WHOLE_EXPERIMENT.decode(record.experiment))
        return self._abouts[shared]

    def _understood(self, experiment: Experiment) -> MethodColumns:
        recipe = without_defaults(experiment.recipe)
        self.recipes[_hash(recipe)] = recipe
        base = experiment.base
        choices = (experiment.dataset, experiment.model, experiment.pruner, experiment.control or Choice(""))
        return MethodColumns(
            dataset_choice=label(experiment.dataset),
            model_choice=label(experiment.model),
            pruner_choice=label(experiment.pruner),
            control_choice=label(experiment.control) if experiment.control else "",
            pruner=experiment.pruner.name,
            control=experiment.control.name if experiment.control else "",
            recipe_hash=_hash(recipe),
            meaning=_meaning(experiment),
            base=_meaning(base) if base else "",
            names=tuple(choice.name for choice in choices),
            revisions=tuple(choice.revision for choice in choices),
            has_sequel=experiment.after != NOTHING,
            pattern=experiment.pattern,
        )

    def _environment(self, environment: bytes) -> EnvironmentWords:
        if environment not in self._environments:
            _ENVIRONMENT.decode(environment)
            self._environments[environment] = _in_words(msgspec.json.decode(environment) or {})
        return self._environments[environment]

    def _one(self, text: str) -> str:
        """One object for equal texts, so that a hundred thousand rows take little memory."""
        return self._texts.setdefault(text, text)


_EXPERIMENT = msgspec.json.Decoder(Asked)
_WHOLE_EXPERIMENT = decoder(Experiment)
_ENVIRONMENT: msgspec.json.Decoder[Environment | None] = msgspec.json.Decoder(Environment | None)


def _in_words(environment: dict[str, Any]) -> EnvironmentWords:
    numbers = ", ".join(f"{name} {environment[name]}" for name in COMPARABLE if name in environment)
    code = environment.get("code", {})
    parts = (("pruner", "control"), ("model", "dataset"))
    return EnvironmentWords(
        numbers, *(", ".join(f"{kind} {code[kind][:8]}" for kind in part if kind in code) for part in parts)
    )


def _measures(record: Excerpt) -> Measures:
    test, sparsity, timing = record.test, record.sparsity, record.timing
    last, best, early = (test.last, test.best_validation, test.early_stop) if test else (None, None, None)
    return Measures(
        sparsity.measured if sparsity else NOWHERE,
        _number(sparsity.effective if sparsity else None),
        NOWHERE if sparsity is None else len(sparsity.collapsed),
        _kept_zeros(sparsity) if sparsity else NOWHERE,
        _accuracy(last),
        _accuracy(best),
        _accuracy(early),
        _step(last),
        _step(best),
        _step(early),
        float(record.ticket.step) if record.ticket else NOWHERE,
        bool(early and early.censored),
        last.loss if last else NOWHERE,
        100 * _number(last.calibration_error if last else None),
        100 * _number(last.top5_accuracy if last else None),
        sum([event.steps for event in record.events or ()]),
        _number(timing.latency if timing else None),
        timing.seconds if timing else NOWHERE,
        _number(timing.peak_memory if timing else None),
    )


def _kept_zeros(sparsity: Sparsity) -> int:
    """How many weights are exactly zero although a mask that prunes others keeps them."""
    return sparsity.mask - sparsity.kept if sparsity.mask < sparsity.prunable else 0


def _accuracy(point: Point | None) -> float:
    return 100 * point.accuracy if point else NOWHERE


def _step(point: Point | None) -> float:
    return float(point.step) if point else NOWHERE


def _number(value: float | None) -> float:
    return NOWHERE if value is None else float(value)


def _digests(data: DataHashes) -> str:
    return " ".join(digest[:8] for digest in (data.test, data.training) if digest)


def _meaning(experiment: Experiment) -> str:
    """A hash that tells methods of the same name apart."""
    parts = (experiment.pruner, experiment.control, experiment.recipe, experiment.origin)
    more = {"pattern": experiment.pattern, "after": experiment.after}
    changed = {name: without_defaults(value) for name, value in more.items() if value not in ("", NOTHING)}
    return _hash([*(without_defaults(part) for part in parts), *([changed] if changed else [])])


def _hash(value: Any) -> str:
    return sha256(canonical(value).encode())[:8]
