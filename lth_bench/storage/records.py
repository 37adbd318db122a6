"""Records and plans on disk: one JSON file per experiment, from which all tables are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from lth_bench.errors import Damaged, FileFault
from lth_bench.experiments.experiment import Planned
from lth_bench.storage.files import locked, publish_new, set_aside
from lth_bench.storage.reading import names
from lth_bench.storage.record import SCHEMA, Identity, Methods, Plan, Record, Status, builtins, decoder, identity
from lth_bench.storage.sealed import publish_json, read_json, read_sealed, sealed

T = TypeVar("T")
OUTCOME = re.compile(r"([^.]+)\.([1-9][0-9]{0,8})\.safetensors")
RESULTS = ("done", "diverged")


class CodeOfEnvironment(Struct, frozen=True):
    """The part of an environment that tells which code ran."""

    code: dict[str, str] = {}


class RecordOfCode(Struct, frozen=True):
    """The part of a record that tells which code ran."""

    status: Status
    environment: CodeOfEnvironment | None = None


def record_path(directory: Path, key: str) -> Path:
    return directory / "records" / f"{key}.json"


def analysis_path(directory: Path, name: str) -> Path:
    """The folder of an analysis in a run directory; it has records, leases and a journal as that has."""
    return directory / "analyses" / name


def analysed_directory(folder: Path) -> Path:
    """The run directory in which the folder of an analysis lies."""
    return folder.parents[1]


def ticket_path(directory: Path, key: str) -> Path:
    return directory / "tickets" / f"{key}.safetensors"


def outcome_path(directory: Path, key: str, generation: int) -> Path:
    """The file in which one try hands its outcome over; each try has its own, also after a takeover."""
    return directory / "outcomes" / f"{key}.{generation}.safetensors"


def outcomes(directory: Path) -> list[tuple[str, int]]:
    """The keys and tries whose outcome lies in a run directory."""
    matches = (OUTCOME.fullmatch(name) for name in names(directory / "outcomes"))
    return [(match[1], int(match[2])) for match in matches if match]


def plan_path(directory: Path) -> Path:
    return directory / "plan.json"


def suite_copy(directory: Path, suite: str) -> Path:
    """The copy of a suite's file in a run directory."""
    return directory / "suites" / f"{suite}.toml"


def packages_path(directory: Path, digest: str) -> Path:
    """The list of the packages with which records of a run directory were made, by the SHA-256 that they state."""
    return directory / "packages" / f"{digest}.txt"


def plugin_folder(directory: Path) -> Path:
    """Where a run directory keeps copies of plugins that are single files."""
    return directory / "plugins"


def record_paths(directory: Path) -> list[Path]:
    """Paths of a run directory's records, in order of their keys."""
    folder = directory / "records"
    if not folder.is_dir():
        raise FileFault(f"no records in {directory}: there is no folder {folder}")
    return [record_path(directory, key) for key in recorded(directory)]


def recorded(directory: Path) -> list[str]:
    """The sorted keys that have a record in a run directory; other files in its folder are none."""
    found = (name for name in names(directory / "records") if name.endswith(".json") and not name.startswith("."))
    return [name.removesuffix(".json") for name in found]


def read_record(path: Path) -> Record:
    """A record; raises Damaged, also under another record's name, and FileFault for another schema or wrong fields."""
    record = decoded(path, _RECORD, "record")
    if record.key != path.stem:
        raise Damaged(f"{path} is the record of another experiment, {record.key[:64]!r}")
    return record


def read_records(directory: Path) -> list[Record]:
    """All records of a run directory, in order of their keys."""
    return [read_record(path) for path in record_paths(directory)]


def code_of_record(path: Path) -> dict[str, str]:
    """The fingerprints of the code behind a result, by kind; none if the record has no result. Raises as above."""
    record = decoded(path, _CODE, "record")
    return record.environment.code if record.environment and record.status in RESULTS else {}


def faults(directory: Path) -> list[str]:
    """What is wrong with the plan and the records of a folder; nothing if it holds none."""
    reads: list[Callable[[], object]] = [partial(read_plan, directory)]
    if (directory / "records").is_dir():
        reads += [partial(read_record, path) for path in record_paths(directory)]
    return [str(fault) for read in reads if (fault := _raised(read))]


def _raised(read: Callable[[], object]) -> FileFault | None:
    try:
        read()
    except FileFault as fault:
        return fault
    return None


def write_record(directory: Path, record: Record) -> bool:
    """Publishes a record unless its key has one: the first writer wins. Raises DiskFault."""
    return publish_new(record_path(directory, record.key), sealed(builtins(record)))


def read_plan(directory: Path) -> list[Identity]:
    """All experiments that were ever planned in a run directory; raises as `read_record` does."""
    return _read_plan(directory).experiments


def _read_plan(directory: Path) -> Plan:
    path = plan_path(directory)
    return decoded(path, _PLAN, "plan") if path.exists() else Plan(SCHEMA, [])


def write_plan(directory: Path, suite: str, planned: Iterable[Planned], methods: Methods | None = None) -> None:
    """Adds a suite's experiments to the directory's plan, and what their methods say of themselves."""
    with locked(directory / ".lock"):
        try:
            earlier = _read_plan(directory)
        except Damaged:
            set_aside(plan_path(directory), directory / "damaged")
            earlier = Plan(SCHEMA, [])
        entries = {entry.key: entry for entry in [*earlier.experiments, *(identity(suite, item) for item in planned)]}
        said = {kind: earlier.methods.get(kind, {}) | more for kind, more in (methods or {}).items()}
        plan = Plan(SCHEMA, list(entries.values()), earlier.methods | said)
        if plan != earlier:
            publish_json(plan_path(directory), builtins(plan))


def decoded(path: Path, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """A sealed file as a `what`; raises Damaged, and FileFault for another schema, wrong fields or no access."""
    content = read_sealed(path)
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault(path, what, error) from error


def _fault(path: Path, what: str, error: Exception) -> FileFault:
    if (schema := read_json(path).get("schema")) != SCHEMA:
        return FileFault(
            f"{path} has schema {schema!r}; this version reads {SCHEMA}: "
            "use the version of lth-bench that wrote it, or another directory"
        )
    return FileFault(
        f"{path} does not have the fields of a {what}: {error}; move it away, and the next run makes it again"
    )


_RECORD = decoder(Record)
_CODE = msgspec.json.Decoder(RecordOfCode)
_PLAN = decoder(Plan)
