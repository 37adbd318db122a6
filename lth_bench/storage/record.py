"""The type of a record: the one definition that runs, storage, tables and documentation share.

On disk a record is JSON. A field without a value is absent; `null` stands for a value that could not be measured.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from lth_bench.experiments.about import About
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment, Planned, without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.storage.answers import Answers
from lth_bench.storage.findings import Analysed, AnalysisFindings
from lth_bench.storage.work import Network, RecordedEvent

SCHEMA: Literal[1] = 1
Status = Literal["done", "diverged", "failed"]
T = TypeVar("T")
STATUSES: tuple[Status, ...] = get_args(Status)


class RecordedError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an experiment has no result.

    A divergence has a `step`; other errors have a `traceback`. If an exception was raised, its class name is
    `exception`, and `place` the last line of a plugin that it passed, such as "my_package/my_module.py:12".
    `killed` tells whether a signal from outside ended a lost process. No run repeats a `quarantined` experiment.
    """

    kind: str
    message: str
    step: int | None = None
    traceback: str | None = None
    exception: str | None = None
    place: str | None = None
    killed: bool | None = None
    quarantined: bool = False

    @property
    def words(self) -> str:
        """The message behind the class and place of its exception, for readers."""
        if self.exception is None:
            return self.message
        return f"{self.exception}{f' at {self.place}' if self.place else ''}: {self.message}"


class LayerSparsity(Struct, frozen=True):
    """Weights of one prunable layer: all, under the mask, not zero, and on a path from input to output."""

    size: int
    mask: int
    kept: int
    effective: int | UnsetType = UNSET
    channels: int | UnsetType = UNSET


class Sparsity(Struct, frozen=True):
    """How sparse the final network is; `effective` is null where paths cannot be computed."""

    asked: float
    measured: float
    effective: float | None
    prunable: int
    kept: int
    mask: int
    layers: dict[str, LayerSparsity]
    collapsed: list[str]


class Point(Struct, frozen=True, omit_defaults=True):
    """The network of one step on the test split: loss in nats, shares from 0 to 1."""

    step: int
    loss: float
    accuracy: float
    calibration_error: float | None = None
    top5_accuracy: float | None = None
    censored: bool | None = None


class Evaluation(Struct, frozen=True):
    """The three steps at which networks are compared; null if no measurement followed the final mask.

    The `answers` are those of the `last` network; older records lack them.
    """

    last: Point
    best_validation: Point | None
    early_stop: Point | None
    answers: Answers | UnsetType = UNSET


class DataHashes(Struct, frozen=True, omit_defaults=True):
    """Hashes of the splits and their normalisation; `test` only if the experiment was evaluated."""

    training: str
    test: str | None = None


class Curve(Struct, frozen=True):
    """All measurements of an experiment, in columns; a training loss is null before the first step."""

    step: list[int]
    kept: list[int]
    training_loss: list[float | None]
    validation_loss: list[float]
    validation_accuracy: list[float]


class Pruning(Struct, frozen=True):
    """From `step` on masks keep `kept` weights; `measured` points of the curve are older."""

    step: int
    kept: int
    measured: int


class TicketReference(Struct, frozen=True):
    """The step at which the final mask took force, and the SHA-256 of the ticket."""

    step: int
    sha256: str


class RecordedPlugin(Struct, frozen=True):
    """A plugin: its entry point, module and distribution, and the SHA-256 of its source file."""

    plugin: str
    module: str
    distribution: str
    version: str
    sha256: str


class Environment(Struct, frozen=True, rename={"lth_bench": "lth-bench"}):
    """Versions and machine; `plugins` are those of the pruner, the control, the model and the data set.

    `code` has, for these, the SHA-256 of all their modules and of the files that their arguments name. `source` is the
    SHA-256 of all modules of lth-bench, `packages` that of the list of installed ones; older records lack these.
    """

    python: str
    lth_bench: str
    torch: str
    timm: str
    numpy: str
    system: str
    device: str
    threads: int
    processors: int | None
    plugins: dict[str, RecordedPlugin]
    code: dict[str, str] | UnsetType = UNSET
    processor: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    packages: str | UnsetType = UNSET


class Timing(Struct, frozen=True, omit_defaults=True):
    """Start in UTC, seconds, steps computed and looked up in the store, peak memory in bytes, seconds per image."""

    started: str
    seconds: float
    steps_computed: int | None = None
    steps_looked_up: int | None = None
    peak_memory: int | None = None
    latency: float | None = None


class Identity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an experiment before it runs: an entry of a plan.

    A `helper` is no experiment of its suite: it only finds the tickets of others. Labels are presentation: those of the
    plan count, not those of the record. What is known of an `analysis` is that, under a key of its own, and the
    experiment that it is of.
    """

    schema: Literal[1]
    key: str
    suite: str
    label: str
    recipe: str
    own_recipe: bool
    experiment: Experiment
    helper: bool = False
    dataset_label: str = ""
    model_label: str = ""
    analysis: Analysed | None = None


class Record(Identity, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of an experiment."""

    status: Status
    error: RecordedError | None = None
    sparsity: Sparsity | None = None
    network: Network | None = None
    test: Evaluation | None = None
    unfit: list[str] | None = None
    data: DataHashes | None = None
    curve: Curve | None = None
    prunings: list[Pruning] | None = None
    events: list[RecordedEvent] | None = None
    notes: dict[str, Any] | None = None
    ticket: TicketReference | None = None
    environment: Environment | None = None
    timing: Timing | None = None
    findings: AnalysisFindings | None = None


OF_RESULTS = ("sparsity", "network", "test", "data", "curve", "events", "ticket", "environment", "timing")
"""Fields of every record of an experiment whose status is "done"; one with another status has an `error`."""
OF_ANALYSES = ("findings", "environment", "timing")
"""The same of an analysis."""


Methods = dict[str, dict[str, About]]
"""What pruners and controls say of themselves, by kind ("pruner", "control") and label."""


class Plan(Struct, frozen=True, omit_defaults=True):
    """All experiments that were ever planned in a run directory, and what their methods say of themselves."""

    schema: Literal[1]
    experiments: list[Identity]
    methods: Methods = {}


def identity(suite: str, planned: Planned) -> Identity:
    """The entry of an experiment in a plan."""
    return Identity(
        schema=SCHEMA,
        key=planned.experiment.key,
        suite=suite,
        label=planned.label,
        recipe=planned.recipe,
        own_recipe=planned.own_recipe,
        helper=planned.helper,
        dataset_label=planned.dataset_label,
        model_label=planned.model_label,
        experiment=planned.experiment,
    )


def analysis_identity(choice: Choice, planned: Identity, ticket: str) -> Identity:
    """What is known of an analysis of an experiment before it runs."""
    key = sha256(canonical([without_defaults(choice), planned.key, ticket]).encode())[:20]
    return structs.replace(planned, key=key, analysis=Analysed(choice, planned.key, ticket))


def ended(identity: Identity, status: Status, **fields: Any) -> Record:
    """The record of an experiment: its identity and these fields."""
    return Record(**_of(identity), status=status, **fields)


def failed(identity: Identity, error: RecordedError, **fields: Any) -> Record:
    """The record of an experiment that has no result."""
    return ended(identity, "diverged" if error.kind == "diverged" else "failed", error=error, **fields)


def identified(record: Record, identity: Identity) -> Record:
    """A record with its identity replaced."""
    return structs.replace(record, **_of(identity))


def identity_of(record: Record) -> Identity:
    """The identity of a record alone, which takes little memory."""
    return Identity(**_of(record))


def _of(identity: Identity) -> dict[str, Any]:
    return {name: getattr(identity, name) for name in Identity.__struct_fields__}


def builtins(value: Any) -> Any:
    """A record or part of one as dicts, lists and plain values, ready for JSON."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, Duration):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no part of a record")


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A reader of JSON for a record or part of one; it raises msgspec.DecodeError, which names the field."""
    return msgspec.json.Decoder(kind, dec_hook=_custom)


def _custom(kind: type, value: Any) -> Any:
    if kind is Duration:
        return Duration(value)
    raise TypeError(f"{kind.__name__} is no part of a record")
