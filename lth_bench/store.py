"""The store: what training segments led to, under the hash of all that they depend on.

`entries/KEY.json` names the tensors it needs by their hash, `objects/HASH.safetensors`; `checkpoints/KEY.json` is an
entry of a segment that is not at its end yet. Whoever computes a segment holds the lease on its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_bench import leases
from lth_bench.files import (
    ABANDONED,
    Content,
    FileFault,
    age,
    names,
    publish,
    publish_json,
    read_json,
    remove,
    set_aside,
    sha256,
    tidy,
    touch,
)
from lth_bench.leases import Lease

SCHEMA = 1
HASH = re.compile(r"[0-9a-f]{64}")
FOLDERS = ("entries", "objects", "checkpoints", "leases", "damaged")


@dataclass(frozen=True)
class Store:
    """A folder of segments; processes and machines may share it. A lease is lost after `patience` silent seconds."""

    root: Path
    patience: float = leases.SECONDS

    def read(self, key: str, folder: str = "entries") -> dict[str, Any] | None:
        """The entry of a key; a damaged one is set aside and counts as absent."""
        path = self._json(folder, key)
        if not path.exists():
            return None
        try:
            entry = read_json(path)
        except FileFault:
            entry = {}
        if not _is_sound(entry, key):
            self.reject(key, folder)
            return None
        return entry

    def reject(self, key: str, folder: str = "entries") -> None:
        """Sets an entry aside that must not be used."""
        set_aside(self._json(folder, key), self.root / "damaged")

    def used(self, key: str) -> None:
        """Marks an entry as used now, so that `collect` keeps it longest."""
        touch(self._json("entries", key))

    def write(self, key: str, entry: dict[str, Any], folder: str = "entries") -> None:
        """Publishes an entry; its objects must be there."""
        publish_json(self._json(folder, key), {**entry, "schema": SCHEMA, "key": key})

    def forget(self, key: str, folder: str = "entries") -> None:
        remove(self._json(folder, key))

    def object_path(self, digest: str) -> Path:
        return self.root / "objects" / f"{digest}.safetensors"

    def write_object(self, content: Content) -> str:
        """Publishes tensors under their hash, unless they are there, and returns it."""
        digest = sha256(content)
        path = self.object_path(digest)
        if not (path.exists() and touch(path)):
            publish(path, content)
        return digest

    def damaged(self, digest: str) -> None:
        """Sets an object aside that was found not to be what its name says."""
        if self.object_path(digest).exists():
            set_aside(self.object_path(digest), self.root / "damaged")

    def busy(self, key: str) -> bool:
        """Whether somebody computes the segment of this key now."""
        claim = leases.find(self.root / "leases", key)
        return claim is not None and claim.alive(self.patience)

    def claim(self, keys: Iterable[str]) -> list[Lease] | None:
        """The leases on all these keys, or none of them."""
        held: list[Lease] = []
        for key in sorted(set(keys)):
            lease = leases.claim(self.root / "leases", key, self.patience)
            if lease is None:
                for other in held:
                    other.release()
                return None
            held.append(lease)
        return held

    def entries(self, folder: str = "entries") -> Iterator[tuple[Path, dict[str, Any]]]:
        """All entries; damaged ones are set aside."""
        for path in sorted((self.root / folder).glob("*.json")):
            if entry := self.read(path.stem, folder):
                yield path, entry

    def _json(self, folder: str, key: str) -> Path:
        return self.root / folder / f"{key}.json"


def _is_sound(entry: dict[str, Any], key: str) -> bool:
    """Whether an entry is that of its key, and names nothing but hashes."""
    named = [entry.get("objects"), entry.get("parts")]
    hashes = all(isinstance(names, list) and all(HASH.fullmatch(str(name)) for name in names) for names in named)
    return hashes and entry.get("schema") == SCHEMA and entry.get("key") == key


@dataclass
class Survey:
    """What was found in a store, or removed from it: a count and bytes for each kind of file."""

    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, size: int) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.sizes[kind] = self.sizes.get(kind, 0) + size


def open_store(root: Path) -> Store:
    """The store in a folder, or that of a run directory; raises FileFault if there is none."""
    for folder in (root, root / "store"):
        if (folder / "entries").is_dir():
            return Store(folder)
    raise FileFault(f"no store in {root}: neither it nor its folder store/ has a folder entries/")


def survey(store: Store) -> Survey:
    """How many files of each kind there are, and their size."""
    found = Survey()
    for folder in FOLDERS:
        for path in _files(store.root / folder):
            found.add(folder, path.stat().st_size)
    return found


def verify(store: Store) -> Survey:
    """Reads everything and sets aside what is damaged, entries that need it too; returns what was set aside."""
    bad = Survey()
    for path in _files(store.root / "objects"):
        with path.open("rb") as file:
            whole = sha256(iter(lambda: file.read(1 << 20), b"")) == path.stem
        if not whole:
            bad.add("objects", path.stat().st_size)
            store.damaged(path.stem)
    for folder in ("entries", "checkpoints"):
        for path in _files(store.root / folder):
            size = path.stat().st_size
            entry = store.read(path.stem, folder)
            if entry is None or not _complete(store, entry):
                bad.add(folder, size)
                store.forget(path.stem, folder)
    return bad


def collect(store: Store, largest: int | None = None) -> Survey:
    """Removes what nothing needs: objects without an entry, leftovers of killed writers, what was set aside.

    With `largest`, also the entries used longest ago until the rest has at most so many bytes. What is younger than
    an hour and in no entry yet may be in the making, and is kept.
    """
    removed = Survey()
    for path in _files(store.root / "damaged"):
        _remove(path, "damaged", removed)
    for folder in FOLDERS:
        if freed := tidy(store.root / folder):
            removed.add("leftovers", freed)
    if largest is not None:
        _evict(store, largest, removed)
    for path, entry in store.entries():
        if not _complete(store, entry):
            _remove(path, "entries", removed)
    for path, entry in store.entries("checkpoints"):
        if (store.root / "entries" / path.name).exists() or not _complete(store, entry):
            _remove(path, "checkpoints", removed)
    needed = {name for folder in ("entries", "checkpoints") for _, e in store.entries(folder) for name in e["objects"]}
    for path in _files(store.root / "objects"):
        if path.stem not in needed and (age(path) or 0) > ABANDONED:
            _remove(path, "objects", removed)
    for key, claim in leases.find_all(store.root / "leases").items():
        if not claim.alive(store.patience):
            removed.add("leases", claim.path.stat().st_size)
            leases.clear(store.root / "leases", key)
    return removed


def _evict(store: Store, largest: int, removed: Survey) -> None:
    used = [(path.stat().st_mtime, path) for path in _files(store.root / "entries")]
    total = sum(survey(store).sizes.values())
    entries = dict(store.entries())
    users: dict[str, int] = {}
    for entry in entries.values():
        for name in entry["objects"]:
            users[name] = users.get(name, 0) + 1
    for _, path in sorted(used):
        if total <= largest:
            return
        total -= path.stat().st_size
        for name in entries.get(path, {}).get("objects", []):
            users[name] -= 1
            if not users[name] and store.object_path(name).exists():
                total -= store.object_path(name).stat().st_size
                _remove(store.object_path(name), "objects", removed)
        _remove(path, "entries", removed)


def _complete(store: Store, entry: dict[str, Any]) -> bool:
    parts = all((store.root / "entries" / f"{key}.json").exists() for key in entry["parts"])
    return parts and all(store.object_path(name).exists() for name in entry["objects"])


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in names(folder) if not name.startswith(".")]


def _remove(path: Path, kind: str, removed: Survey) -> None:
    size = path.stat().st_size if path.exists() else 0
    remove(path)
    removed.add(kind, size)
