"""All changes of files: a file exists as a whole, or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lth_bench.errors import DiskFault
from lth_bench.hashing import Content
from lth_bench.storage.reading import names, size

ASIDE = re.compile(r"\..+\.[0-9a-f]{16}~")
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
TRIED = 1 << 16  # bytes; a disk with less room is full
ABANDONED = 3600.0  # seconds after which an unfinished file counts as the leftover of a killed writer


def _nothing(operation: str, path: Path) -> None:
    pass


before: Callable[[str, Path], None] = _nothing
"""Called before every operation that changes a file, so that the fault suite can fail or crash there."""


def publish(path: Path, content: Content) -> None:
    """Writes a file beside its place, syncs it, and renames it into place. Raises DiskFault."""
    with _aside(path, content) as aside:
        before("rename", path)
        aside.replace(path)


def publish_new(path: Path, content: Content) -> bool:
    """Publishes a file unless one exists: of several writers, the first wins. Raises DiskFault."""
    if path.exists():
        return False
    with _aside(path, content) as aside:
        before("link", path)
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _move_new(aside, path)
    return True


def _move_new(aside: Path, path: Path) -> bool:
    """Renames a file into place unless one exists, on a file system without hard links."""
    with locked(path.parent / ".lock"):
        if path.exists():
            return False
        aside.replace(path)
    return True


def create(path: Path, content: bytes) -> bool:
    """Creates a small file, unsynced; False if one exists."""
    with _faults(path):
        _make_folder(path.parent)
        before("create", path)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(handle, content)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
    return True


def append(path: Path, content: bytes) -> None:
    """Appends to a file in one write, so that the lines of several processes do not mix."""
    with _faults(path):
        _make_folder(path.parent)
        before("append", path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
        try:
            os.write(handle, content)
        finally:
            os.close(handle)


def remove(path: Path) -> None:
    """Removes a file if it exists."""
    with _faults(path):
        before("remove", path)
        path.unlink(missing_ok=True)


def touch(path: Path) -> bool:
    """Sets the modification time of a file to now; False if it is gone."""
    with _faults(path):
        before("touch", path)
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
    return True


def move(path: Path, target: Path) -> bool:
    """Renames a file; False if it is gone."""
    with _faults(path):
        _make_folder(target.parent)
        before("rename", target)
        try:
            path.rename(target)
        except FileNotFoundError:
            return False
    return True


def set_aside(path: Path, folder: Path) -> Path:
    """Moves a file that must not be used into a folder, under a unique name; returns its new path."""
    target = folder / f"{path.name}.{time.time_ns()}"
    move(path, target)
    return target


def age(path: Path) -> float | None:
    """Seconds between the last modification of a file and now, by the clock of its file system; None if it is gone.

    A time in the future counts as one in the past: no writer leaves it behind, and nothing may wait for it.
    """
    try:
        modified = path.stat().st_mtime
    except FileNotFoundError:
        return None
    return abs(clock(path.parent) - modified)


def clock(folder: Path) -> float:
    """The time in seconds by the file system of a folder; by this machine's clock where we cannot write."""
    probe = folder / _aside_name("clock")
    try:
        before("create", probe)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT))
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise DiskFault(f"cannot write {probe}: {error.strerror}; free some space or grant access") from error
        return time.time()


def try_to_write(folder: Path) -> None:
    """Writes a nameless file of a few bytes into a folder, or where it would be made. Raises DiskFault."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with _faults(folder), tempfile.TemporaryFile(dir=place) as file:
        file.write(bytes(TRIED))
        file.flush()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock that other processes respect; the system releases it when the process ends, however it ends."""
    import fcntl

    with _faults(path):
        _make_folder(path.parent)
        before("lock", path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def tidy(folder: Path) -> int:
    """Removes the unfinished files of killed writers from a folder; returns the bytes freed."""
    freed = 0
    for path in (folder / name for name in names(folder) if ASIDE.fullmatch(name)):
        if (age(path) or 0) > ABANDONED:
            freed += size(path)
            remove(path)
    return freed


@contextmanager
def _aside(path: Path, content: Content) -> Iterator[Path]:
    """A synced file beside `path` with this content; unless the caller fails, the folder is synced afterwards."""
    aside = path.parent / _aside_name(path.name)
    with _faults(path):
        _make_folder(path.parent)
        try:
            _write(aside, content)
            yield aside
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        before("sync", path.parent)
        _sync_folder(path.parent)


def _write(path: Path, content: Content) -> None:
    before("create", path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb", buffering=0) as file:
        for part in _parts(content):
            before("write", path)
            _write_all(file, memoryview(part).cast("B"))
        before("sync", path)
        os.fsync(file.fileno())


def _write_all(file: Any, piece: memoryview) -> None:
    while piece:
        piece = piece[file.write(piece) :]


def _parts(content: Content) -> Iterable[bytes | memoryview]:
    """The parts in which a file is written: bytes in two halves, so that a fault can strike between two writes."""
    middle = len(content) // 2 if isinstance(content, bytes) else 0
    return [content[:middle], content[middle:]] if isinstance(content, bytes) else content


def _aside_name(name: str) -> str:
    return f".{name}.{secrets.token_hex(8)}~"


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        before("mkdir", folder)
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFault(
            f"cannot write {path}: {error.strerror}; free some space or grant access, then run again"
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
