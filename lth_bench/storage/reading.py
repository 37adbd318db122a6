"""Reading of files and folders that others may have written: regular files alone, and no more than was expected."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lth_bench.errors import Damaged, FileFault
from lth_bench.hashing import sha256

LONGEST_LINE = 1 << 20  # bytes; longer lines come in pieces


def content(path: Path, largest: int) -> bytes:
    """The bytes of a file; raises Damaged for a larger file or what is no file, and FileFault if it cannot be read."""
    with _opened(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > largest:
            raise Damaged(f"{path} has {size:,} bytes; such files have at most {largest:,}")
        return file.read()


def digest(path: Path) -> str:
    """The SHA-256 of a file of any size; raises as `content` does."""
    with _opened(path) as file:
        return sha256(iter(lambda: file.read(1 << 20), b""))


def regular(path: Path) -> Path:
    """The path of a file, for readers that take a path; raises as `content` does."""
    with _opened(path):
        return path


def added(path: Path, start: int) -> Iterator[bytes]:
    """The complete lines of a file from a byte on; none if there is no such file. Raises Damaged and FileFault."""
    if not path.exists():
        return
    with _opened(path) as file:
        file.seek(start)
        while line := file.readline(LONGEST_LINE):
            if line.endswith(b"\n") or len(line) == LONGEST_LINE:
                yield line


def names(folder: Path) -> list[str]:
    """The sorted names in a folder; none if there is no such folder. Raises FileFault."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileFault(f"cannot read {folder}: {error.strerror}") from error


def size(path: Path) -> int:
    """Bytes of a file, 0 if it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading; a pipe or device would block, or never end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Damaged(f"{path} is not a regular file")
        with os.fdopen(handle, "rb") as file:
            yield file
    except OSError as error:
        raise FileFault(f"cannot read {path}: {error.strerror}") from error
