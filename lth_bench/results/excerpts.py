"""What tables need of a record, decoded straight from its bytes; all else, above all curves, is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from lth_bench.errors import FileFault
from lth_bench.storage.records import SCHEMA, STATUSES, plan_path, read_record, read_schema
from lth_bench.storage.sealed import read_sealed

NOWHERE = float("nan")


class Layer(Struct, frozen=True):
    """A prunable weight, and the FLOPs of its layer for one image."""

    name: str
    shape: list[int]
    flops: float


class Network(Struct, frozen=True):
    """What costs of a network depend on."""

    layers: list[Layer]
    other_flops: float
    parameters: int


class Event(Struct, frozen=True):
    """Ticks of one kind in a row, or what was computed while the clock stood still."""

    steps: int = 0
    kind: str = ""
    examples: int = 0
    kept: list[int] = []
    flops: float | None = None
    sparse_flops: float = 0.0


class Kept(Struct, frozen=True):
    """How many weights of a layer are left."""

    kept: int


class Sparsity(Struct, frozen=True):
    """How sparse the network became."""

    measured: float = NOWHERE
    effective: float | None = None
    collapsed: list[str] | None = None
    layers: dict[str, Kept] = {}


class Point(Struct, frozen=True):
    """What was measured on the test set at one step."""

    accuracy: float = NOWHERE
    step: float = NOWHERE
    censored: bool = False
    loss: float | None = None
    calibration_error: float | None = None
    top5_accuracy: float | None = None


class Test(Struct, frozen=True):
    """The steps at which accuracies are compared."""

    last: Point | None = None
    best_validation: Point | None = None
    early_stop: Point | None = None


class Timing(Struct, frozen=True):
    """Seconds, bytes and steps of the worker that ran the experiment."""

    steps_computed: int | None = None
    seconds: float | None = None
    latency: float | None = None
    peak_memory: float | None = None


class Excerpt(Struct):
    """A record, or the plan of one; what many records share is left as bytes, to be decoded once."""

    key: str
    suite: str
    label: str
    recipe: str
    own_recipe: bool
    experiment: Raw
    schema: int = 0
    status: str = "missing"
    error: dict[str, Any] | None = None
    network: Raw = Raw()
    environment: Raw = Raw(b"{}")
    events: list[Event] = []
    sparsity: Sparsity = Sparsity()
    test: Test = Test()
    timing: Timing = Timing()
    unfit: list[str] = []
    data: dict[str, str] = {}


class Asked(Struct, frozen=True):
    """An experiment: how much is pruned, with which seed, and what is the same for all of its leaderboard's row."""

    sparsity: float
    seed: int
    dataset: Raw
    model: Raw
    recipe: Raw
    pruner: Raw
    control: Raw = Raw(b"null")
    origin: Raw = Raw(b"null")
    protocol: Raw = Raw(b"1")

    def shared(self) -> tuple[bytes, ...]:
        """What tells it from others but for its sparsity and its seed."""
        parts = (self.dataset, self.model, self.recipe, self.pruner, self.control, self.origin, self.protocol)
        return tuple(map(bytes, parts))


class Plan(Struct, frozen=True):
    """The experiments that were asked for."""

    experiments: list[Excerpt]


def read_excerpt(path: Path) -> Excerpt:
    """What tables need of a record, ten times as fast as all of it; raises as `read_record` does."""
    try:
        record = _RECORD.decode(read_sealed(path))
        if record.schema == SCHEMA and record.key == path.stem and record.status in STATUSES:
            return record
        fault = "another key, schema or status"
    except msgspec.DecodeError as error:
        fault = str(error)
    read_record(path)  # says what is wrong, if it is more than a field
    raise FileFault(f"the record {path.stem} is not as records are: {fault}")


_RECORD = msgspec.json.Decoder(Excerpt)


def plan_excerpts(directory: Path) -> list[Excerpt]:
    """What tables need of the plan: records that are missing as long as they are not run."""
    path = plan_path(directory)
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(read_sealed(path), type=Plan).experiments
    except msgspec.DecodeError as error:
        read_schema(path)  # says what is wrong, if it is more than a field
        raise FileFault(f"{path} is not as plans are: {error}") from error
