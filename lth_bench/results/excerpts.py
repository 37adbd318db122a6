"""The fields of a record that tables need, decoded straight from its bytes; curves above all are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from lth_bench.errors import FileFault
from lth_bench.storage.record import DataHashes, Evaluation, RecordedError, RecordedEvent, Status, Timing
from lth_bench.storage.records import decoded, plan_path, read_record

NOWHERE = float("nan")


class Kept(Struct, frozen=True):
    """The number of weights left in a layer."""

    kept: int


class SparsityExcerpt(Struct, frozen=True):
    """The part of a record's sparsity that tables need."""

    measured: float
    effective: float | None = None
    collapsed: list[str] | None = None
    prunable: int = 0
    kept: int = 0
    mask: int = 0
    layers: dict[str, Kept] = {}


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
    network: Raw = Raw()
    environment: Raw = Raw(b"{}")
    events: list[RecordedEvent] = []
    sparsity: SparsityExcerpt | None = None
    test: Evaluation | None = None
    timing: Timing | None = None
    unfit: list[str] = []
    data: DataHashes | None = None


class Asked(Struct, frozen=True):
    """An experiment: its sparsity, its seed, and the parts that are the same in a whole row of a leaderboard."""

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
        """Everything that identifies the experiment but for sparsity and seed."""
        parts = (self.dataset, self.model, self.recipe, self.pruner, self.control, self.origin, self.protocol)
        return tuple(map(bytes, parts))


class PlanExcerpt(Struct, frozen=True):
    """All experiments that were ever planned in a run directory."""

    schema: Literal[1]
    experiments: list[Excerpt]


def read_excerpt(path: Path) -> Excerpt:
    """The excerpt of a record, read faster than all of it; raises as `read_record` does."""
    record = decoded(path, _RECORD, "record")
    if record.key == path.stem and record.status != "missing":
        return record
    read_record(path)  # says what is wrong
    raise FileFault(f"{path} has no status")


_RECORD = msgspec.json.Decoder(Excerpt)


def plan_excerpts(directory: Path) -> list[Excerpt]:
    """The excerpt of a plan: its experiments as missing records."""
    path = plan_path(directory)
    return decoded(path, _PLAN, "plan").experiments if path.exists() else []


_PLAN = msgspec.json.Decoder(PlanExcerpt)
