"""Records: one JSON file per experiment, the only truth about what was run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth_bench.errors import Damaged, FileFault
from lth_bench.experiments.experiment import Planned, to_json
from lth_bench.storage.files import locked, names, publish_new, set_aside
from lth_bench.storage.sealed import publish_json, read_json, sealed

SCHEMA = 1
STATUSES = ("done", "diverged", "failed")


def record_path(directory: Path, key: str) -> Path:
    return directory / "records" / f"{key}.json"


def ticket_path(directory: Path, key: str) -> Path:
    return directory / "tickets" / f"{key}.safetensors"


def outcome_path(directory: Path, key: str, generation: int) -> Path:
    """Where the outcome of one try is handed over; a try that was taken over does not touch that of the next."""
    return directory / "outcomes" / f"{key}.{generation}.safetensors"


def read_record(path: Path) -> dict[str, Any]:
    """A record; raises Damaged, also for one under another's name, and FileFault for one of another schema."""
    record = read_schema(path)
    if record.get("key") != path.stem:
        raise Damaged(f"{path} is not the record of that experiment, but of {str(record.get('key'))[:64]!r}")
    if not isinstance(record.get("experiment"), dict) or record.get("status") not in STATUSES:
        raise Damaged(f"{path} has no experiment with a status of {', '.join(STATUSES)}")
    return record


def read_schema(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if content.get("schema") != SCHEMA:
        raise FileFault(f"{path} has schema {content.get('schema')!r}; this version reads {SCHEMA}")
    return content


def record_paths(directory: Path) -> list[Path]:
    """Where the records of a run directory lie, in order of their keys."""
    folder = directory / "records"
    if not folder.is_dir():
        raise FileFault(f"no records in {directory}: there is no folder {folder}")
    return [folder / name for name in names(folder) if name.endswith(".json") and not name.startswith(".")]


def read_records(directory: Path) -> list[dict[str, Any]]:
    """All records of a run directory, in order of their keys."""
    return [read_record(path) for path in record_paths(directory)]


def write_record(directory: Path, record: dict[str, Any]) -> bool:
    """Publishes a record, unless there is one of that key: the first writer wins."""
    return publish_new(record_path(directory, record["key"]), sealed(record))


def identity(suite: str, planned: Planned) -> dict[str, Any]:
    """The fields of a record that are known before its experiment runs."""
    return {
        "schema": SCHEMA,
        "key": planned.experiment.key,
        "suite": suite,
        "label": planned.label,
        "recipe": planned.recipe,
        "own_recipe": planned.own_recipe,
        "experiment": to_json(planned.experiment),
    }


def plan_path(directory: Path) -> Path:
    return directory / "plan.json"


def write_plan(directory: Path, suite: str, planned: Iterable[Planned]) -> None:
    """Adds a suite's experiments to the directory's plan."""
    with locked(directory / ".lock"):
        try:
            earlier = read_plan(directory)
        except Damaged:
            set_aside(plan_path(directory), directory / "damaged")
            earlier = []
        entries = {entry["key"]: entry for entry in [*earlier, *(identity(suite, item) for item in planned)]}
        if list(entries.values()) != earlier:
            publish_json(plan_path(directory), {"schema": SCHEMA, "experiments": list(entries.values())})


def suite_copy(directory: Path, suite: str) -> Path:
    """Where a run directory keeps the file of a suite that was run into it."""
    return directory / "suites" / f"{suite}.toml"


def read_plan(directory: Path) -> list[dict[str, Any]]:
    """The identities of all experiments that were ever asked for in a run directory."""
    path = plan_path(directory)
    return list(read_schema(path)["experiments"]) if path.exists() else []
