"""Upkeep of a store: how large it is, what is damaged, and what nothing needs any more."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_bench.errors import Damaged, FileFault
from lth_bench.storage import leases
from lth_bench.storage.files import ABANDONED, age, remove, tidy
from lth_bench.storage.reading import digest, size
from lth_bench.storage.store import FOLDERS, SUFFIX, Store, files


@dataclass
class Usage:
    """Files of a store by kind: how many, and their bytes."""

    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, size: int) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.sizes[kind] = self.sizes.get(kind, 0) + size


def usage(store: Store) -> Usage:
    """How many files of each kind there are, and their size."""
    all_files = Usage()
    for folder in FOLDERS:
        for path in files(store.root / folder):
            all_files.add(folder, size(path))
    return all_files


def verify(store: Store) -> Usage:
    """Reads everything, and sets damaged files and the entries that need them aside; returns what was set aside."""
    bad = Usage()
    for folder in ("objects", "checkpoints"):
        for path in files(store.root / folder, SUFFIX):
            if not _is_whole(path):
                bad.add(folder, size(path))
                store.damaged(path)
    for folder in ("entries", "checkpoints"):
        for path in files(store.root / folder, ".json"):
            try:
                entry = store.checked(path.stem, folder)
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
    """Whether tensors have the hash of their name; True for a file that is gone or cannot be read."""
    try:
        return digest(path) == path.stem.rpartition(".")[2]
    except Damaged:
        return False
    except FileFault:
        return True


def collect(store: Store, largest: int | None = None) -> Usage:
    """Removes what nothing needs: tensors without an entry, leftovers of killed writers, files that were set aside.

    With `largest`, also the least recently used entries, until the rest has at most so many bytes. Tensors without an
    entry stay for an hour, as their writer may still be at work.
    """
    removed = Usage()
    for path in files(store.root / "damaged"):
        _remove(path, "damaged", removed)
    for folder in FOLDERS:
        if freed := tidy(store.root / folder):
            removed.add("leftovers", freed)
    if largest is not None:
        _evict(store, largest, removed)
    _remove_tensors(store, _needed(store, removed), removed)
    _remove_leases(store, removed)
    return removed


def _needed(store: Store, removed: Usage) -> set[Path]:
    """The tensors that complete entries and checkpoints name; incomplete ones are removed."""
    for path, entry in store.entries():
        if not _complete(store, path.stem, entry):
            _remove(path, "entries", removed)
    needed = {store.tensors(name, "") for _, entry in store.entries() for name in entry["objects"]}
    for path, entry in store.entries("checkpoints"):
        if (store.root / "entries" / path.name).exists() or not _complete(store, path.stem, entry, "checkpoints"):
            _remove(path, "checkpoints", removed)
        else:
            needed |= {store.tensors(name, path.stem, "checkpoints") for name in entry["objects"]}
    return needed


def _remove_tensors(store: Store, needed: set[Path], removed: Usage) -> None:
    for folder in ("objects", "checkpoints"):
        for path in files(store.root / folder, SUFFIX):
            if path not in needed and (age(path) or 0) > ABANDONED:
                _remove(path, folder, removed)


def _remove_leases(store: Store, removed: Usage) -> None:
    for key, claim in leases.find_all(store.root / "leases").items():
        if not claim.alive(store.patience):
            freed = size(claim.path)
            leases.clear(store.root / "leases", key)
            removed.add("leases", freed)


def _evict(store: Store, largest: int, removed: Usage) -> None:
    used = [(age(path) or 0.0, path) for path in files(store.root / "entries", ".json")]
    total = sum(usage(store).sizes.values())
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


def _remove(path: Path, kind: str, removed: Usage) -> None:
    freed = size(path)
    remove(path)
    removed.add(kind, freed)
