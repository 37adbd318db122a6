"""Published boards: the files of a run directory that are published, and who submitted them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from lth_bench.errors import FileFault
from lth_bench.storage.files import publish
from lth_bench.storage.reading import content, names
from lth_bench.storage.record import builtins
from lth_bench.storage.records import decoded
from lth_bench.storage.sealed import LARGEST_JSON, publish_json

FOLDERS = ("records", "suites", "packages", "plugins", "masks")
"""What is published of a run directory beside its plan, its list of masks and the records of its analyses."""
GROWING = (Path("plan.json"), Path("masks.json"))


class Submission(Struct, frozen=True, omit_defaults=True):
    """Who submitted a board, the paper that it is of, and where the code of its methods is."""

    schema: Literal[1]
    author: str
    version: str
    paper: str = ""
    source: str = ""


def submission_path(directory: Path) -> Path:
    return directory / "submission.json"


def read_submission(directory: Path) -> Submission | None:
    """Who submitted a board; None for one that the project itself has run. Raises Damaged and FileFault."""
    path = submission_path(directory)
    return decoded(path, _SUBMISSION, "submission") if path.exists() else None


def write_submission(directory: Path, submission: Submission) -> None:
    publish_json(submission_path(directory), builtins(submission))


def published_files(directory: Path) -> Iterator[Path]:
    """The files of a run directory that are published, relative to it. Raises FileFault."""
    yield from (name for name in GROWING if (directory / name).exists())
    for folder in FOLDERS:
        yield from (Path(folder, name) for name in names(directory / folder) if not name.startswith((".", "__")))
    for analysis in names(directory / "analyses"):
        records = Path("analyses", analysis, "records")
        yield from (records / name for name in names(directory / records) if name.endswith(".json"))


def copy_board(directory: Path, board: Path) -> list[Path]:
    """Copies what is published of a run directory into a board; returns the paths.

    Raises FileFault for a board with a record that the run directory has not, or has another one of, and DiskFault.
    """
    files = {path: content(directory / path, LARGEST_JSON) for path in published_files(directory)}
    there = [path for path in published_files(board) if path not in GROWING and path.suffix == ".json"]
    if faults := [path for path in there if files.get(path) != content(board / path, LARGEST_JSON)]:
        raise FileFault(
            f"{board} has {len(faults)} records that {directory} lacks or has with other content, the first "
            f"{faults[0]}: a board only grows; submit under another --name"
        )
    for path, text in files.items():
        publish(board / path, text)
    return [board / path for path in files]


_SUBMISSION = msgspec.json.Decoder(Submission)
