"""Runs a suite in children of one process, over and over, with a fault each time."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import sys
from pathlib import Path

import torch
from msgspec import structs

from lth_bench.errors import DiskFault
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.context import Context
from lth_bench.running.queue import Queue
from lth_bench.running.run import run
from lth_bench.running.status import missing
from lth_bench.storage import files
from lth_bench.storage.leases import find_all
from lth_bench.storage.record import identity
from lth_bench.storage.records import read_record, record_path, write_plan
from lth_bench.storage.store import Store
from lth_bench.storage.upkeep import verify

CRASHED, FULL, WRONG, SURVIVED = 70, 71, 72, 73
PLACES = [("records", "*"), ("tickets", "*"), ("store/objects", "*"), ("store/entries", "*"), (".", "plan.json")]


class Workload:
    """Everything that an experiment writes, in the order in which a sweep does it."""

    def __init__(self, suite: str) -> None:
        self.plugins = load_plugins()
        self.name, content = read_suite(suite, self.plugins)
        self.planned = plan(content, self.plugins)
        self.identities = [identity(self.name, item) for item in self.planned]
        self.site = Context(self.plugins, None, torch.device("cpu"))
        self.site.training(Choice("digits"))

    def __call__(self, directory: Path) -> None:
        store = Store(directory / "store", patience=60)
        write_plan(directory, self.name, self.planned)
        queue = Queue(directory, missing(directory, self.identities), store, 60)
        site = dataclasses.replace(self.site, store=store)
        while task := queue.next(lambda *event: None):
            assert queue.publish(task, run(task.identity, directory, site)) == "done"


def in_child(work, *arguments) -> int:
    """Runs something in a child process; returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        except DiskFault as error:
            os._exit(FULL if str(arguments[0]) in str(error) else WRONG)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(WRONG)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def failing(workload: Workload, mode: str, number: int):
    """The workload with a fault at its n-th operation on a file."""

    def work(directory: Path) -> None:
        seen = 0

        def before(operation: str, path: Path) -> None:
            nonlocal seen
            seen += mode != "remove" or operation == "remove"
            if mode == "remove" and operation == "remove" and seen == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if mode == "crash" and seen == number:
                os._exit(CRASHED)
            if mode == "full" and seen >= number and operation in ("create", "write", "mkdir", "append"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        files.before = before
        workload(directory)
        if mode == "remove" and seen >= number:
            os._exit(SURVIVED)

    return work


def content(workload: Workload, directory: Path) -> dict[str, object]:
    """The records without what may differ; raises FileFault for one that is neither before nor after."""
    found = {}
    for entry in workload.identities:
        path = record_path(directory, entry.key)
        if path.exists():
            found[entry.key] = structs.replace(read_record(path), timing=None)
    return found


def operations(workload: Workload, folder: Path, mode: str, stride: int) -> tuple[int, int, list[str]]:
    """A fault at operation 1, 1 + stride, … until a run comes to its end."""
    reference, bad, number = content(workload, folder / "reference"), [], 1
    while True:
        directory = folder / str(number)
        status = in_child(failing(workload, mode, number), directory)
        if status == 0:
            return number - 1, number // stride, bad
        if status not in (CRASHED, FULL, SURVIVED):
            bad.append(f"operation {number} ended in status {status}")
        partly = content(workload, directory)
        if any(partly[key] != reference[key] for key in partly) or verify(Store(directory / "store")).counts:
            bad.append(f"operation {number} left something between")
        if in_child(workload, directory) or content(workload, directory) != reference:
            bad.append(f"operation {number} was not recovered from")
        if find_all(directory / "leases") or find_all(directory / "store" / "leases"):
            bad.append(f"operation {number} left a lease behind")
        number += stride


def damages(workload: Workload, folder: Path, tries: int) -> tuple[int, int, list[str]]:
    """Random damage to records, tickets, store and plan of a finished run, which is then run again."""
    directory, bad, chance = folder / "reference", [], random.Random(2)
    reference = content(workload, directory)
    for number in range(tries):
        place, pattern = PLACES[number % len(PLACES)]
        victims = sorted((directory / place).glob(pattern))
        for path in victims if number % 2 else [chance.choice(victims)]:
            damage(path, chance)
        if place != "records":
            chance.choice(sorted((directory / "records").iterdir())).unlink()
        if in_child(workload, directory):
            bad.append(f"try {number}, {place}: was not recovered from")
        if content(workload, directory) != reference:
            bad.append(f"try {number}, {place}: a result changed")
    return tries, tries, bad


def damage(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    kind = chance.choice(["flip", "truncate", "zeros"])
    if kind == "flip":
        content[chance.randrange(len(content) - 1)] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del content[chance.randrange(len(content)) :]
    else:
        content[:] = bytes(len(content))
    path.write_bytes(content)


def crashes(suite: Path, folder: Path, mode: str, number: int) -> tuple[int, int, list[str]]:
    """How many faults were possible, how many were tried, and what went wrong.

    Modes "crash" and "full" fail at every `number`-th operation on a file, by ending the process or with a disk that is
    full from there on; mode "remove" fails once, when a file is removed for the `number`-th time; mode "damage" damages
    files of a finished run `number` times.
    """
    torch.set_num_threads(1)
    workload = Workload(str(suite))
    assert in_child(workload, folder / "reference") == 0
    return damages(workload, folder, number) if mode == "damage" else operations(workload, folder, mode, number)
