"""The store: the ends of training segments, under the hash of everything that they depend on.

`entries/KEY.json` names its tensors by their hash, `objects/HASH.safetensors`. `checkpoints/KEY.json` is the entry of
an unfinished segment, with tensors of its own, `checkpoints/KEY.HASH.safetensors`. The process that computes a segment
holds the lease on its key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lth_bench.errors import Damaged, FileFault
from lth_bench.hashing import Content, sha256
from lth_bench.storage import leases
from lth_bench.storage.files import publish, remove, set_aside, touch
from lth_bench.storage.leases import Lease
from lth_bench.storage.reading import names
from lth_bench.storage.sealed import publish_json, read_json

SCHEMA = 1
SUFFIX = ".safetensors"
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
FOLDERS = ("entries", "objects", "checkpoints", "leases", "damaged")


class Divergence(Struct, frozen=True):
    """The step at which training diverged, and what was not finite."""

    step: int
    what: str


class Links(Struct, frozen=True):
    """The fields of every entry: its tensors, the entries that it is made of, or the divergence in which it ends."""

    key: str
    objects: list[Hash]
    parts: list[Hash]
    diverged: Divergence | None


@dataclass(frozen=True)
class Store:
    """A folder of segments that processes and machines may share; a lease expires after `patience` silent seconds."""

    root: Path
    patience: float = leases.SECONDS

    def read(self, key: str, folder: str = "entries") -> dict[str, Any] | None:
        """The entry of a key; None if it is absent, of another schema, or damaged. A damaged entry is set aside."""
        try:
            return self.checked(key, folder)
        except Damaged:
            self.reject(key, folder)
        except FileFault:
            pass  # absent, or not readable now
        return None

    def checked(self, key: str, folder: str) -> dict[str, Any] | None:
        """The entry of a key, None for one of another schema; raises Damaged, and FileFault if it cannot be read."""
        entry = read_json(self.entry_path(key, folder))
        if entry.get("schema") != SCHEMA:
            return None
        if not _is_sound(entry, key):
            raise Damaged(f"{self.entry_path(key, folder)} is the entry of another key, or names no hashes")
        return entry

    def reject(self, key: str, folder: str = "entries") -> None:
        """Sets an unusable entry aside."""
        set_aside(self.entry_path(key, folder), self.root / "damaged")

    def used(self, key: str) -> None:
        """Marks an entry as just used; `collect` removes the least recently used first."""
        touch(self.entry_path(key))

    def write(self, key: str, entry: dict[str, Any], folder: str = "entries") -> None:
        """Publishes an entry, whose tensors must exist."""
        publish_json(self.entry_path(key, folder), {**entry, "schema": SCHEMA, "key": key})

    def forget(self, key: str, folder: str = "entries") -> None:
        """Removes an entry; of a checkpoint, its tensors too."""
        remove(self.entry_path(key, folder))
        if folder == "checkpoints":
            self.clean_up(key, [])

    def clean_up(self, key: str, needed: Collection[str]) -> None:
        """Removes the tensors of a checkpoint but for the needed ones."""
        for path in files(self.root / "checkpoints"):
            owner, _, digest = path.stem.partition(".")
            if owner == key and path.suffix == SUFFIX and digest not in needed:
                remove(path)

    def tensors(self, digest: str, key: str, folder: str = "entries") -> Path:
        """The path of the tensors that an entry names by this hash."""
        place = f"objects/{digest}" if folder == "entries" else f"checkpoints/{key}.{digest}"
        return self.root / f"{place}{SUFFIX}"

    def write_tensors(self, content: Content, key: str, folder: str = "entries") -> str:
        """Publishes tensors for an entry, unless they exist; returns their hash."""
        digest = sha256(content)
        path = self.tensors(digest, key, folder)
        if not (path.exists() and touch(path)):
            publish(path, content)
        return digest

    def damaged(self, path: Path) -> None:
        """Sets tensors aside whose content does not have the hash of their name."""
        set_aside(path, self.root / "damaged")

    def busy(self, key: str) -> bool:
        """Whether a process computes the segment of this key now."""
        claim = leases.find(self.root / "leases", key)
        return claim is not None and claim.alive(self.patience)

    def claim(self, keys: Iterable[str]) -> list[Lease] | None:
        """The leases on all these keys; None, and no lease, if one of them is taken."""
        held: list[Lease] = []
        with ExitStack() as undo:
            for key in sorted(set(keys)):
                lease = leases.claim(self.root / "leases", key, self.patience)
                if lease is None:
                    return None
                undo.callback(lease.release)
                held.append(lease)
            undo.pop_all()
        return held

    def entries(self, folder: str = "entries") -> Iterator[tuple[Path, dict[str, Any]]]:
        """All entries; damaged ones are set aside."""
        for path in sorted((self.root / folder).glob("*.json")):
            if entry := self.read(path.stem, folder):
                yield path, entry

    def entry_path(self, key: str, folder: str = "entries") -> Path:
        return self.root / folder / f"{key}.json"


def _is_sound(entry: dict[str, Any], key: str) -> bool:
    """Whether an entry is that of its key, and names its tensors and its distinct parts by hashes."""
    try:
        links = msgspec.convert(entry, Links)
    except (msgspec.ValidationError, RecursionError):
        return False
    return links.key == key and len(set(links.parts)) == len(links.parts)


def open_store(root: Path) -> Store:
    """The store in a folder, or that of a run directory. Raises FileFault if there is none."""
    for folder in (root, root / "store"):
        if (folder / "entries").is_dir():
            return Store(folder)
    raise FileFault(f"no store in {root}: neither it nor its folder store/ has a folder entries/")


def files(folder: Path, suffix: str = "") -> list[Path]:
    """The files of a folder of the store, but for those that are being written."""
    return [folder / name for name in names(folder) if not name.startswith(".") and name.endswith(suffix)]
