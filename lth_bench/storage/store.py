"""The store: what training segments led to, under the hash of all that they depend on.

`entries/KEY.json` names the tensors it needs by their hash, `objects/HASH.safetensors`; `checkpoints/KEY.json` is an
entry of a segment that is not at its end yet, with tensors of its own, `checkpoints/KEY.HASH.safetensors`. Whoever
computes a segment holds the lease on its key.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_bench.errors import Damaged, FileFault
from lth_bench.hashing import Content, sha256
from lth_bench.storage import leases
from lth_bench.storage.files import ABANDONED, age, names, publish, remove, set_aside, size, tidy, touch
from lth_bench.storage.leases import Lease
from lth_bench.storage.sealed import publish_json, read_json

SCHEMA = 1
SUFFIX = ".safetensors"
HASH = re.compile(r"[0-9a-f]{64}")
FOLDERS = ("entries", "objects", "checkpoints", "leases", "damaged")


@dataclass(frozen=True)
class Store:
    """A folder of segments; processes and machines may share it. A lease is lost after `patience` silent seconds."""

    root: Path
    patience: float = leases.SECONDS

    def read(self, key: str, folder: str = "entries") -> dict[str, Any] | None:
        """The entry of a key; a damaged one is set aside, it and one of another schema count as absent."""
        try:
            return self.examine(key, folder)
        except Damaged:
            self.reject(key, folder)
        except FileFault:
            pass  # not there, or not to be read now
        return None

    def examine(self, key: str, folder: str) -> dict[str, Any] | None:
        """The entry of a key, None for one of another schema; raises Damaged, and FileFault if it cannot be read."""
        entry = read_json(self._json(folder, key))
        if entry.get("schema") != SCHEMA:
            return None
        if not _is_sound(entry, key):
            raise Damaged(f"{self._json(folder, key)} is not the entry of that key")
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
        """Removes an entry, and with a checkpoint its tensors."""
        remove(self._json(folder, key))
        if folder == "checkpoints":
            self.clean_up(key, [])

    def clean_up(self, key: str, needed: Collection[str]) -> None:
        """Removes the tensors of a checkpoint that it does not need any more."""
        for path in _files(self.root / "checkpoints"):
            owner, _, digest = path.stem.partition(".")
            if owner == key and path.suffix == SUFFIX and digest not in needed:
                remove(path)

    def tensors(self, digest: str, key: str, folder: str = "entries") -> Path:
        """Where the tensors with a hash are that an entry names."""
        place = f"objects/{digest}" if folder == "entries" else f"checkpoints/{key}.{digest}"
        return self.root / f"{place}{SUFFIX}"

    def write_tensors(self, content: Content, key: str, folder: str = "entries") -> str:
        """Publishes tensors that an entry is going to name by their hash, unless they are there, and returns it."""
        digest = sha256(content)
        path = self.tensors(digest, key, folder)
        if not (path.exists() and touch(path)):
            publish(path, content)
        return digest

    def damaged(self, path: Path) -> None:
        """Sets tensors aside that were found not to be what their name says."""
        set_aside(path, self.root / "damaged")

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
    return hashes and entry.get("key") == key


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
            found.add(folder, size(path))
    return found


def verify(store: Store) -> Survey:
    """Reads everything and sets aside what is damaged, entries that need it too; returns what was set aside."""
    bad = Survey()
    for folder in ("objects", "checkpoints"):
        for path in _files(store.root / folder, SUFFIX):
            if not _is_whole(path):
                bad.add(folder, size(path))
                store.damaged(path)
    for folder in ("entries", "checkpoints"):
        for path in _files(store.root / folder, ".json"):
            try:
                entry = store.examine(path.stem, folder)
                whole = entry is None or _complete(store, path.stem, entry, folder)
            except Damaged:
                whole = False
            except FileFault:
                continue
            if not whole:
                bad.add(folder, size(path))
                store.reject(path.stem, folder)
    return bad


def _is_whole(path: Path) -> bool:
    """Whether tensors have the hash of their name; those that have gone by now, or cannot be read, are no fault."""
    try:
        with path.open("rb") as file:
            return sha256(iter(lambda: file.read(1 << 20), b"")) == path.stem.rpartition(".")[2]
    except OSError:
        return True


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
        if not _complete(store, path.stem, entry):
            _remove(path, "entries", removed)
    needed = {store.tensors(name, "") for _, entry in store.entries() for name in entry["objects"]}
    for path, entry in store.entries("checkpoints"):
        if (store.root / "entries" / path.name).exists() or not _complete(store, path.stem, entry, "checkpoints"):
            _remove(path, "checkpoints", removed)
        else:
            needed |= {store.tensors(name, path.stem, "checkpoints") for name in entry["objects"]}
    for folder in ("objects", "checkpoints"):
        for path in _files(store.root / folder, SUFFIX):
            if path not in needed and (age(path) or 0) > ABANDONED:
                _remove(path, folder, removed)
    for key, claim in leases.find_all(store.root / "leases").items():
        if not claim.alive(store.patience):
            removed.add("leases", size(claim.path))
            leases.clear(store.root / "leases", key)
    return removed


def _evict(store: Store, largest: int, removed: Survey) -> None:
    used = [(age(path) or 0.0, path) for path in _files(store.root / "entries", ".json")]
    total = sum(survey(store).sizes.values())
    entries = dict(store.entries())
    users = Counter(name for entry in entries.values() for name in entry["objects"])
    for _, path in sorted(used, reverse=True):
        if total <= largest:
            return
        total -= size(path)
        for name in entries[path]["objects"] if path in entries else []:
            users[name] -= 1
            if not users[name]:
                total -= size(store.tensors(name, path.stem))
                _remove(store.tensors(name, path.stem), "objects", removed)
        _remove(path, "entries", removed)


def _complete(store: Store, key: str, entry: dict[str, Any], folder: str = "entries") -> bool:
    parts = all((store.root / "entries" / f"{part}.json").exists() for part in entry["parts"])
    return parts and all(store.tensors(name, key, folder).exists() for name in entry["objects"])


def _files(folder: Path, suffix: str = "") -> list[Path]:
    return [folder / name for name in names(folder) if not name.startswith(".") and name.endswith(suffix)]


def _remove(path: Path, kind: str, removed: Survey) -> None:
    freed = size(path)
    remove(path)
    removed.add(kind, freed)
