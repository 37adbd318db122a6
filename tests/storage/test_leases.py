"""Leases among files that others wrote, and by the clock of the file system."""

from __future__ import annotations

import errno
import json
import os
import time

import pytest

from lth_bench.errors import DiskFault
from lth_bench.storage import files, leases
from lth_bench.storage.files import age
from lth_bench.storage.record import RecordedError

LOST = RecordedError(kind="lost", message="gone", traceback="")
ELSEWHERE = {"token": "abc", "owner": {"machine": ["elsewhere"], "pid": 1, "started": 5}, "lost": None}


def written(path, content=ELSEWHERE, modified=0.0):
    """A lease as others may have written it, touched so many seconds ago by the clock of the file system."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    now = path.stat().st_mtime
    os.utime(path, (now - modified, now - modified))
    return path


def test_the_latest_lease_is_the_one_that_counts_whatever_was_removed(tmp_path):
    first = leases.claim(tmp_path, "key", seconds=0)
    second = leases.claim(tmp_path, "key", seconds=0)
    first.path.unlink()
    assert second.held() and second.beat() and not first.held()
    assert leases.claim(tmp_path, "key", seconds=60) is None


def test_a_lease_that_was_taken_over_removes_nothing(tmp_path):
    first = leases.claim(tmp_path, "key", seconds=0)
    second = leases.claim(tmp_path, "key", seconds=0)
    first.finish()
    first.release()
    assert second.held() and first.path.exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("generation", [10**8, leases.LAST])
def test_leases_of_a_high_generation_take_no_longer_than_others(tmp_path, generation):
    written(tmp_path / f"key.{generation}", modified=100)
    lease = leases.claim(tmp_path, "key")
    lease.lose(LOST)
    assert [loss.message for loss in leases.history(tmp_path, "key")] == ["gone"]
    again = leases.claim(tmp_path, "key")
    assert again.generation == lease.generation + 1 and again.held()
    again.finish()
    assert leases.find(tmp_path, "key") is None and list(tmp_path.iterdir()) == []


def test_names_that_no_run_writes_are_no_leases(tmp_path):
    names = [
        f"key.{10**12}",
        "key.0",
        "key.-1",
        "key.01",
        "key.1e3",
        "key.٣",
        "key",
        ".key.1",
        "key.1~",
        f"{'k' * 253}.1",
    ]
    for name in names:
        written(tmp_path / name)
    lease = leases.claim(tmp_path, "key")
    assert lease.generation == 1
    lease.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 200_000,
        b'{"token":"a","owner":' + b'{"machine":' * 50_000,
        {**ELSEWHERE, "owner": 3},
        {**ELSEWHERE, "owner": {"machine": {}, "pid": "x", "started": None}},
        {**ELSEWHERE, "owner": {"machine": [], "pid": 10**300, "started": -1}},
        {**ELSEWHERE, "lost": {"message": 3}},
        b" " * (2 << 20),
        "a pipe",
    ],
)
def test_a_lease_with_another_content_is_one_of_nobody_until_it_expires(tmp_path, content):
    path = tmp_path / "key.1"
    if content == "a pipe":
        os.mkfifo(path)
    else:
        written(path, content)
    assert leases.claim(tmp_path, "key") is None
    os.utime(path, (0, path.stat().st_mtime - 61))
    assert leases.claim(tmp_path, "key").generation == 2


@pytest.mark.parametrize(("modified", "taken"), [(0, False), (45, False), (75, True), (-75, True), (-2.4e9, True)])
@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
def test_age_is_told_by_the_file_system_whatever_the_clock_of_this_machine(
    tmp_path, monkeypatch, ahead, modified, taken
):
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + ahead)
    path = written(tmp_path / "key.1", modified=modified)
    assert age(path) == pytest.approx(abs(modified), abs=5)
    assert (leases.claim(tmp_path, "key") is not None) == taken


def test_a_lease_whose_file_cannot_be_removed_expires(tmp_path, monkeypatch):
    lease = leases.claim(tmp_path, "key")
    with monkeypatch.context() as patch:
        patch.setattr(files, "before", refuse_to_remove)
        lease.finish()
    assert lease.path.exists() and leases.claim(tmp_path, "key") is None
    os.utime(lease.path, (0, time.time() - 61))
    assert leases.claim(tmp_path, "key").generation == 2


def refuse_to_remove(operation, path):
    if operation == "remove":
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_last_generation_that_cannot_be_removed_is_named(tmp_path):
    stuck = tmp_path / f"key.{leases.LAST}"
    stuck.mkdir()  # a folder cannot be unlinked, whoever tries
    os.utime(stuck, (0, 0))
    with pytest.raises(DiskFault, match=str(stuck)):
        leases.claim(tmp_path, "key")
