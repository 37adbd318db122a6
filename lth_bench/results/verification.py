"""What the records of a run directory say, checked against each other: a seal shows damage, not forgery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from msgspec import UNSET

from lth_bench.errors import FileFault, SuiteError
from lth_bench.experiments.experiment import without_defaults
from lth_bench.experiments.plan import plan, read_suite, weight_folders
from lth_bench.experiments.plugins import Plugins
from lth_bench.hashing import canonical, sha256
from lth_bench.results.soundness import faults_of_record, key_faults, missing
from lth_bench.storage.reading import names
from lth_bench.storage.record import OF_ANALYSES, Identity, Record, analysis_identity, identity
from lth_bench.storage.records import (
    RESULTS,
    analysis_path,
    packages_path,
    plan_path,
    plugin_folder,
    read_plan,
    read_record,
    record_path,
    record_paths,
    suite_copy,
)
from lth_bench.storage.verified import faults_of_verifications
from lth_bench.storage.zoo import parcel_path, read_zoo, unpacked, zoo_path

NAMES = ("label", "recipe", "own_recipe", "helper", "dataset_label", "model_label")
"""What a plan says of an experiment beside what its key does."""


def faults_of(directory: Path, plugins: Plugins, root: Path | None = None) -> list[str]:
    """A sentence for each fault of the plan, the records and the analyses of a run directory; none if it is sound.

    Weights that a suite starts from are looked for beside its copy, beside the suite and below the data root. Raises
    FileFault if it has no records or no plan.
    """
    records, found = _readable(directory)
    if not plan_path(directory).exists():
        raise FileFault(f"no plan in {directory}: without {plan_path(directory)} nothing tells what its records are of")
    found += [f"{record_path(directory, one.key)}: {fault}" for one in records for fault in faults_of_record(one)]
    found += [f"{directory}: {fault}" for fault in [*_copies(records), *_packages(directory, records)]]
    found += [*faults_of_verifications(directory), *_mask_faults(directory, records)]
    try:
        planned = read_plan(directory)
    except FileFault as fault:
        return [*found, str(fault)]
    found += [f"{plan_path(directory)}: {fault}" for entry in planned for fault in key_faults(entry)]
    found += [f"{directory}: {fault}" for fault in _not_planned(planned, records)]
    files = [str(plugin_folder(directory) / name) for name in names(plugin_folder(directory)) if name.endswith(".py")]
    unread = [file for file in files if Path(file).name not in plugins.files]
    hint = f" (read {', '.join(unread)}, and name it by --plugin)" if unread else ""
    for suite in dict.fromkeys(entry.suite for entry in planned):
        entries = [entry for entry in planned if entry.suite == suite]
        copy = suite_copy(directory, suite)
        folders = [*weight_folders(str(copy), plugins, root), *_beside(suite, plugins)]
        found += [f"{directory}: {fault}{hint}" for fault in _suite_faults(copy, entries, plugins, folders)]
    of = {record.key: record for record in records}
    for name in names(directory / "analyses"):
        found += _analysis_faults(analysis_path(directory, name), of)
    return found


def _readable(directory: Path) -> tuple[list[Record], list[str]]:
    """The records that can be read, and why others cannot."""
    records, found = [], []
    for path in record_paths(directory):
        try:
            records.append(read_record(path))
        except FileFault as fault:
            found.append(str(fault))
    return records, found


def _not_planned(plan: list[Identity], records: list[Record]) -> Iterator[str]:
    planned = {entry.key: entry for entry in plan}
    have = {record.key for record in records}
    yield from (
        f"{described(entry)} was planned and has no record" for key, entry in planned.items() if key not in have
    )
    for record in records:
        if record.key not in planned:
            yield f"{described(record)} has a record and was never planned"
        elif planned[record.key].experiment != record.experiment:
            yield f"{described(record)} is another experiment in the plan"


def _beside(suite: str, plugins: Plugins) -> list[Path]:
    """The folder of a built-in suite."""
    return weight_folders(suite, plugins) if suite in plugins.suites else []


def _suite_faults(copy: Path, planned: list[Identity], plugins: Plugins, folders: list[Path]) -> Iterator[str]:
    """In what a plan is not that of the copy of its suite."""
    try:
        suite, content = read_suite(str(copy), plugins)
        wanted = [identity(suite, item) for item in plan(content, plugins, folders)]
    except SuiteError as error:
        yield from (f"its plan cannot be made again: {fault}" for fault in error.faults)
        return
    asked, have = {entry.key: entry for entry in wanted}, {entry.key for entry in planned}
    for entry in planned:
        if entry.key not in asked:
            yield f"{described(entry)} is none of {copy}"
        elif unlike := [name for name in NAMES if getattr(entry, name) != getattr(asked[entry.key], name)]:
            yield f"{described(entry)} has another {' and '.join(unlike)} than in {copy}"
    yield from (f"{described(entry)} is in {copy} and was not planned" for entry in wanted if entry.key not in have)


def _packages(directory: Path, records: list[Record]) -> Iterator[str]:
    """The lists of installed packages that are absent, or others than those of the records."""
    digests = [record.environment.packages for record in records if record.environment]
    for digest in dict.fromkeys(digest for digest in digests if digest is not UNSET):
        path = packages_path(directory, digest)
        try:
            if sha256(path.read_bytes()) != digest:
                yield f"{path} is another list of packages than that of {digests.count(digest)} records"
        except OSError:
            yield f"{path} is absent, the packages with which {digests.count(digest)} records were made"


def _mask_faults(directory: Path, records: list[Record]) -> Iterator[str]:
    """In what the masks that are published beside the records are not those that the records count."""
    of = {record.key: record for record in records}
    try:
        zoo = read_zoo(directory)
    except FileFault as fault:
        yield str(fault)
        return
    for key, parcel in zoo.masks.items():
        path = parcel_path(directory, parcel)
        if (record := of.get(key)) is None or record.sparsity is None:
            yield f"{zoo_path(directory)} lists masks of {key}, which has no result here"
        elif path.exists() or not zoo.url:
            counted = {name: (layer.size, layer.mask) for name, layer in record.sparsity.layers.items()}
            try:
                found = unpacked(directory, parcel).counts
            except FileFault as fault:
                yield str(fault)
            else:
                if found != counted:
                    yield f"{path} has other layers, or keeps other numbers of weights, than {described(record)}"


def _copies(records: list[Record]) -> Iterator[str]:
    """Results of one experiment with several seeds that agree in every loss of a training."""
    seen: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.curve and len(set(record.curve.validation_loss)) > 1:
            losses = canonical([record.curve.training_loss, record.curve.validation_loss])
            first = seen.setdefault((_but_for_seed(record), losses), record)
            if first is not record:
                yield f"{described(record)} has every loss of seed {first.experiment.seed}"


def _analysis_faults(folder: Path, of: dict[str, Record]) -> Iterator[str]:
    if not (folder / "records").is_dir():
        return
    records, found = _readable(folder)
    yield from found
    for record in records:
        yield from (f"{record_path(folder, record.key)}: {fault}" for fault in _analysed_faults(record, of))


def _analysed_faults(record: Record, of: dict[str, Record]) -> Iterator[str]:
    yield from missing(record, OF_ANALYSES)
    if record.analysis is None:
        yield "it lies with analyses and is none"
        return
    base = of.get(record.analysis.key)
    if base is None or base.status not in RESULTS:
        yield f"it analyses the experiment {record.analysis.key}, which has no result here"
    elif base.ticket is None or base.ticket.sha256 != record.analysis.ticket:
        yield f"it analyses another ticket than the experiment {base.key} has"
    elif (key := analysis_identity(record.analysis.choice, base, record.analysis.ticket).key) != record.key:
        yield f"what it analyses has the key {key}, not {record.key}"


def _but_for_seed(entry: Identity) -> str:
    return canonical(without_defaults(replace(entry.experiment, seed=0)))


def described(entry: Identity) -> str:
    """Names an experiment: its method, sparsity, seed and key."""
    experiment = entry.experiment
    control = f" with the control {experiment.control.name}" if experiment.control else ""
    return f"{entry.label}{control}, sparsity {experiment.sparsity}, seed {experiment.seed} ({entry.key})"
