"""The one module that writes files: a file is there whole, or it is not there."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


class FileFault(Exception):
    """A file that cannot be used; the sentence names it."""


def publish(path: Path, content: bytes) -> None:
    """Writes aside, syncs, and renames into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def publish_json(path: Path, value: dict[str, Any]) -> None:
    """Publishes an object with the checksum of the rest in its field `checksum`."""
    sealed = {**value, "checksum": sha256(canonical(value).encode())}
    publish(path, (canonical(sealed) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads what `publish_json` wrote; raises FileFault if it is damaged."""
    try:
        value = json.loads(path.read_bytes())
        checksum = value.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise FileFault(f"{path} is not a record of lth-bench ({type(error).__name__}: {error})") from error
    if checksum != sha256(canonical(value).encode()):
        raise FileFault(f"{path} is damaged: its checksum does not fit its content; delete it to have it made again")
    return dict(value)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
