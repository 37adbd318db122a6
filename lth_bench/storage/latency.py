"""Latencies on disk: one sealed file for each ticket and machine, beside the records, which never change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from lth_bench.errors import Damaged
from lth_bench.hashing import canonical, sha256
from lth_bench.storage.reading import names
from lth_bench.storage.records import decoded
from lth_bench.storage.sealed import publish_json


class MeasuredOn(Struct, frozen=True):
    """What a latency depends on beside the network: the kind of processor, the device, versions, threads."""

    processor: str
    device: str
    threads: int
    torch: str
    onnxruntime: str

    @property
    def digest(self) -> str:
        return sha256(canonical(msgspec.to_builtins(self)).encode())[:8]


class Quartiles(Struct, frozen=True):
    """Of the seconds of a forward pass."""

    lower: float
    median: float
    upper: float


class Speedup(Struct, frozen=True):
    """How many times faster than the dense network, with the 95 % interval over rounds."""

    median: float
    lower: float
    upper: float


class Latency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An engine at one batch size: its times and those of the dense network in the same rounds, or why it has none."""

    engine: str
    batch: int
    reason: str = ""
    rounds: int = 0
    dense: Quartiles | None = None
    own: Quartiles | None = None
    speedup: Speedup | None = None


class Latencies(Struct, frozen=True):
    """The latencies of a ticket, by its record's key and the SHA-256 of its file, on one machine."""

    schema: Literal[1]
    key: str
    ticket: str
    machine: MeasuredOn
    measured: list[Latency]


def latency_path(directory: Path, key: str, machine: MeasuredOn) -> Path:
    return directory / "latency" / f"{key}-{machine.digest}.json"


def latency_paths(directory: Path) -> list[Path]:
    """Paths of all latencies of a run directory, in order."""
    folder = directory / "latency"
    return [folder / name for name in names(folder) if name.endswith(".json") and not name.startswith(".")]


def read_latencies(path: Path) -> Latencies:
    """Reads the latencies of a ticket; raises Damaged and FileFault."""
    found = decoded(path, _LATENCIES, "file of latencies")
    if path.stem != f"{found.key}-{found.machine.digest}":
        raise Damaged(f"{path} has the latencies of another ticket or machine; delete it")
    return found


def write_latencies(directory: Path, new: Latencies) -> Path:
    """Publishes latencies; those of other engines and batch sizes, measured before on the same ticket, stay."""
    path = latency_path(directory, new.key, new.machine)
    merged = {(item.engine, item.batch): item for item in [*_earlier(path, new.ticket), *new.measured]}
    publish_json(path, msgspec.to_builtins(structs.replace(new, measured=list(merged.values()))))
    return path


def _earlier(path: Path, ticket: str) -> Iterable[Latency]:
    try:
        found = read_latencies(path) if path.exists() else None
    except Damaged:
        return []
    return found.measured if found and found.ticket == ticket else []


_LATENCIES = msgspec.json.Decoder(Latencies)
