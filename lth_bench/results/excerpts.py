"""Records as tables read them: all fields are checked, and parts that many records share are decoded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from lth_bench.errors import FileFault
from lth_bench.storage.record import (
    Curve,
    DataHashes,
    Evaluation,
    Methods,
    RecordedError,
    Sparsity,
    Status,
    TicketReference,
    Timing,
)
from lth_bench.storage.records import decoded, plan_path, read_record
from lth_bench.storage.work import RecordedEvent

NOWHERE = float("nan")


class Excerpt(Struct):
    """A record, or an entry of a plan; parts that many records share stay bytes, to be decoded once."""

    schema: Literal[1]
    key: str
    suite: str
    label: str
    recipe: str
    own_recipe: bool
    experiment: Raw
    status: Status | Literal["missing"] = "missing"
    error: RecordedError | None = None
    network: Raw = Raw(b"null")
    environment: Raw = Raw(b"null")
    events: list[RecordedEvent] | None = None
    sparsity: Sparsity | None = None
    test: Evaluation | None = None
    timing: Timing | None = None
    unfit: list[str] | None = None
    data: DataHashes | None = None
    curve: Curve | None = None
    notes: dict[str, Any] | None = None
    ticket: TicketReference | None = None
    helper: bool = False
    dataset_label: str = ""
    model_label: str = ""


class Asked(Struct, frozen=True):
    """An experiment: its sparsity, its seed, and the parts that are the same in a whole row of a leaderboard."""

    sparsity: Annotated[float, Meta(ge=0, lt=1)]
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    dataset: Raw
    model: Raw
    recipe: Raw
    pruner: Raw
    control: Raw = Raw(b"null")
    origin: Raw = Raw(b"null")
    protocol: Raw = Raw(b"1")
    pattern: Raw = Raw(b'""')
    after: Raw = Raw(b"null")

    def shared(self) -> tuple[bytes, ...]:
        """Everything that identifies the experiment but for sparsity and seed."""
        apart = ("sparsity", "seed")
        return tuple(bytes(getattr(self, name)) for name in self.__struct_fields__ if name not in apart)


class PlanExcerpt(Struct, frozen=True):
    """All experiments that were ever planned in a run directory, and what their methods say of themselves."""

    schema: Literal[1]
    experiments: list[Excerpt] = []
    methods: Methods = {}


def read_excerpt(path: Path) -> Excerpt:
    """The excerpt of a record, read faster than all of it; raises as `read_record` does."""
    record = decoded(path, _RECORD, "record")
    if record.key != path.stem or record.status == "missing":
        read_record(path)  # says what is wrong
        raise FileFault(f"{path} has no status")
    if faults := list(_faults(record)):
        raise FileFault(f"{path} does not have the fields of a record: {'; '.join(faults)}")
    return record


def _faults(record: Excerpt) -> Iterator[str]:
    """What no run would write: results without a test, shares outside of [0, 1], layers without weights."""
    if record.status == "done" and (record.sparsity is None or record.test is None):
        yield "it is done, but has no sparsity or no test"
    yield from (f"{name} is {value}, not a share" for name, value in _shares(record) if not 0 <= (value or 0) <= 1)
    sizes = {name: layer.size for name, layer in record.sparsity.layers.items()} if record.sparsity else {}
    yield from (f"layer {name[:64]!r} has {size} weights" for name, size in sizes.items() if size < 1)


def _shares(record: Excerpt) -> Iterator[tuple[str, float | None]]:
    if record.sparsity:
        yield from (("measured", record.sparsity.measured), ("effective", record.sparsity.effective))
    for point in (record.test.last, record.test.best_validation, record.test.early_stop) if record.test else ():
        if point:
            yield from ((name, getattr(point, name)) for name in ("accuracy", "calibration_error", "top5_accuracy"))


_RECORD = msgspec.json.Decoder(Excerpt)


def plan_excerpt(directory: Path) -> PlanExcerpt:
    """The excerpt of a plan: its experiments as missing records."""
    path = plan_path(directory)
    return decoded(path, _PLAN, "plan") if path.exists() else PlanExcerpt(1)


_PLAN = msgspec.json.Decoder(PlanExcerpt)
