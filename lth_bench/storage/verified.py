"""Who has confirmed which records, and how: sealed notes beside the records, which never change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from lth_bench.errors import FileFault
from lth_bench.hashing import canonical, sha256
from lth_bench.storage.reading import names
from lth_bench.storage.record import builtins
from lth_bench.storage.records import decoded, record_path
from lth_bench.storage.sealed import publish_json, read_json, sealed

How = Literal["evaluated", "near", "same"]
"""From the ticket; by another run: as near as chance allows in another environment, or bit for bit."""
RANKS = {how: rank for rank, how in enumerate(get_args(How))}


class Confirmed(Struct, frozen=True):
    """A record, by its checksum, and how it was confirmed."""

    checksum: str
    how: How


class Verification(Struct, frozen=True):
    """What somebody has confirmed at a time (UTC), with a version of lth-bench: records by their key."""

    schema: Literal[1]
    by: str
    at: str
    version: str
    records: dict[str, Confirmed]


def verification_paths(directory: Path) -> list[Path]:
    """Paths of all such notes of a run directory, in order."""
    folder = directory / "verified"
    return [folder / name for name in names(folder) if name.endswith(".json") and not name.startswith(".")]


def read_verification(path: Path) -> Verification:
    """Raises Damaged and FileFault."""
    return decoded(path, _VERIFICATION, "verification")


def write_verification(directory: Path, by: str, at: str, version: str, how: dict[str, How]) -> Path:
    """Notes how records were confirmed, by their key; returns the path. Raises FileFault and DiskFault."""
    records = {key: Confirmed(checksum_of(record_path(directory, key)), how[key]) for key in sorted(how)}
    note = builtins(Verification(1, by, at, version, records))
    path = directory / "verified" / f"{at[:10]}-{sha256(sealed(note))[:8]}.json"
    publish_json(path, note)
    return path


def checksum_of(path: Path) -> str:
    """The checksum of a sealed file. Raises Damaged and FileFault."""
    return sha256(canonical(read_json(path)).encode())


def confirmed(directory: Path) -> dict[str, How]:
    """How the records of a run directory were confirmed, each in the strongest way; none that has changed since."""
    found: dict[str, How] = {}
    for path in verification_paths(directory):
        for key, one in read_verification(path).records.items():
            if RANKS[one.how] >= RANKS[found.get(key, "evaluated")] and _is_of(record_path(directory, key), one):
                found[key] = one.how
    return found


def faults_of_verifications(directory: Path) -> Iterator[str]:
    """Notes that cannot be read, and records that are others than those that were confirmed."""
    for path in verification_paths(directory):
        try:
            note = read_verification(path)
        except FileFault as fault:
            yield str(fault)
            continue
        for key, one in note.records.items():
            if not _is_of(record_path(directory, key), one):
                yield f"{path}: what {note.by} confirmed was another record {key} than the one here"


def _is_of(path: Path, confirmed: Confirmed) -> bool:
    try:
        return checksum_of(path) == confirmed.checksum
    except FileFault:
        return False


_VERIFICATION = msgspec.json.Decoder(Verification)
