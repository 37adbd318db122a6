"""The code of what experiments name, by its fingerprint, and where it has changed since records were made."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from lth_bench.errors import FileFault
from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import Plugins
from lth_bench.hashing import canonical, sha256
from lth_bench.storage.record import Identity
from lth_bench.storage.records import code_of_record, record_path
from lth_bench.storage.source_hash import modules_hash, part_hash

KINDS = ("pruner", "control", "model", "dataset")
OF_ANALYSES = ("model", "dataset")
Used = tuple[str, str]  # a kind and the canonical text of a Choice


class Fingerprint(Struct, frozen=True):
    """The hash of the code of a pruner, control, model or data set, and of files that its arguments name."""

    kind: str
    choice: Choice
    sha256: str


class Code:
    """Fingerprints of what experiments name, each as it was when first asked for."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._known: dict[Used, str | None] = {}

    def of(self, identity: Identity) -> dict[str, str]:
        """Fingerprints by kind, of what plugins registered."""
        hashes = {kind: self.hash(kind, choice) for kind, choice in named(identity).items()}
        return {kind: digest for kind, digest in hashes.items() if digest is not None}

    def hash(self, kind: str, choice: Choice) -> str | None:
        """The fingerprint of a choice; None if no plugin registered it."""
        if (used := _used(kind, choice)) not in self._known:
            self._known[used] = self._hashed(kind, choice)
        return self._known[used]

    def fingerprints(self, identities: Iterable[Identity]) -> list[Fingerprint]:
        """The fingerprints of all that some experiments name."""
        choices = {_used(*pair): pair for identity in identities for pair in named(identity).items()}
        hashes = ((kind, choice, self.hash(kind, choice)) for kind, choice in choices.values())
        return [Fingerprint(kind, choice, digest) for kind, choice, digest in hashes if digest is not None]

    def changed(self, fingerprints: Iterable[Fingerprint]) -> list[str]:
        """What differs here from these fingerprints, one sentence each."""
        return [
            f"the code of the {_title(one.kind, one.choice.name)} has changed since this run began; start the run again"
            for one in fingerprints
            if self.hash(one.kind, one.choice) != one.sha256
        ]

    def _hashed(self, kind: str, choice: Choice) -> str | None:
        registry = self._plugins.of_one(kind)
        if choice.name not in registry.items:
            return None
        code = _code_hash(registry.items[choice.name], registry.providers[choice.name].module)
        files = {} if kind == "dataset" else dict(_files(choice.arguments))
        return sha256(canonical([code, files] if files else code).encode())


def named(identity: Identity) -> dict[str, Choice]:
    """What an experiment names, by kind; an analysis of one names itself, and not the method."""
    own = {"analysis": identity.analysis.choice} if identity.analysis else {}
    kinds = OF_ANALYSES if identity.analysis else KINDS
    choices = own | {kind: getattr(identity.experiment, kind) for kind in kinds}
    return {kind: choice for kind, choice in choices.items() if choice is not None}


def _used(kind: str, choice: Choice) -> Used:
    return kind, canonical([choice.name, choice.arguments, choice.revision])


def _code_hash(item: Any, registering: str) -> str:
    """The hash of the code of an item; all of its module and of the registering one if it is no part of a module."""
    source: Any = item.read if isinstance(item, Dataset) else item
    if (inspect.isfunction(source) or inspect.isclass(source)) and "<locals>" not in source.__qualname__:
        return part_hash(source.__module__, source.__qualname__.partition(".")[0])
    function = source.func if isinstance(source, partial) else source
    module = function.__module__ if inspect.isroutine(function) else type(function).__module__
    return modules_hash(frozenset(filter(None, (module, registering))))


def _files(arguments: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The hashes of files that arguments name, such as checkpoints."""
    if isinstance(arguments, Mapping | list):
        for name, value in arguments.items() if isinstance(arguments, Mapping) else enumerate(arguments):
            yield from _files(value, f"{place}.{name}")
    elif isinstance(arguments, str) and os.path.isfile(arguments):  # noqa: PTH113 (that of Path fails for long names)
        with suppress(OSError), Path(arguments).open("rb") as file:
            yield place, hashlib.file_digest(file, "sha256").hexdigest()


def _title(kind: str, name: str) -> str:
    return f"{'data set' if kind == 'dataset' else kind} {name!r}"


def changes(directory: Path, identities: Iterable[Identity], using: Iterable[Identity], code: Code) -> list[str]:
    """What has changed, of all that experiments are `using`, since the records of `identities` were made.

    One sentence for each pruner, control, model and data set.
    """
    using = list(using)
    keys = {identity.key for identity in using}
    present = {_used(*pair): code.hash(*pair) for identity in using for pair in named(identity).items()}
    stale, others = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for identity, recorded in _recorded(directory, identities):
        for kind, choice in named(identity).items():
            now, then = present.get(_used(kind, choice)), recorded.get(kind)
            if now and then and now != then:
                stale[kind, choice.name] += 1
                others[kind, choice.name] += identity.key not in keys
    return [
        f"the code of the {_title(kind, name)} has changed since {_records(count)} in {directory} "
        f"{'was' if count == 1 else 'were'} made: raise its revision, or {_way_out(kind, name, others[kind, name])}"
        "; --mix-code keeps both, and tables say so"
        for (kind, name), count in stale.items()
    ]


def _way_out(kind: str, name: str, others: int) -> str:
    """What one may do about records of changed code, `others` of which are of experiments not asked for."""
    again = f"compute them again with --redo \"{kind} == '{name}'\""
    if not others:
        return again
    return f"move the records of the {others} that this suite or --only does not ask for out of records/, and {again}"


def mixtures(directory: Path, identities: Iterable[Identity]) -> list[str]:
    """Whose code differs among the records of some experiments, one sentence each."""
    counts: dict[Used, Counter[str]] = defaultdict(Counter)
    titles: dict[Used, str] = {}
    for identity, recorded in _recorded(directory, identities):
        for kind, choice in named(identity).items():
            if kind in recorded:
                titles[_used(kind, choice)] = _title(kind, choice.name)
                counts[_used(kind, choice)][recorded[kind]] += 1
    return [
        f"the code of the {titles[used]} differs among its records: "
        + ", ".join(f"{count} of {digest[:8]}" for digest, count in by_code.most_common())
        for used, by_code in counts.items()
        if len(by_code) > 1
    ]


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _recorded(directory: Path, identities: Iterable[Identity]) -> Iterator[tuple[Identity, dict[str, str]]]:
    """Experiments with a result, and the fingerprints in their records."""
    for identity in identities:
        try:
            yield identity, code_of_record(record_path(directory, identity.key))
        except FileFault:  # said by whoever needs the record
            continue
