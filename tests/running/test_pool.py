"""Workers that are killed while they check experiments are replaced."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import pytest

from lth_bench.errors import FileFault
from lth_bench.experiments.experiment import Choice, Experiment, Planned
from lth_bench.running.pool import WorkerPool
from lth_bench.running.processes import ForkServer
from lth_bench.running.sweep import Sweep
from lth_bench.storage.record import identity
from support.networks import recipe
from support.runners import parent
from support.workers import number


@pytest.fixture(scope="module")
def server():
    """Where the workers of all tests come from; a pool that is dismissed would end it."""
    made = ForkServer()
    yield made
    made.stop()


@contextmanager
def pool_of(sweep, workers):
    pool = WorkerPool(sweep, workers, workers)
    try:
        yield pool
    finally:
        for process in pool.processes:
            process.kill()


@pytest.fixture
def identities():
    experiment = Experiment(Choice("digits"), Choice("lenet_300_100"), recipe(), Choice("dense"), 0.0, 0)
    return [identity("tests", Planned(experiment, "dense", "short", False))]


class Doomed(Sweep):
    """Its workers are killed as soon as they live."""

    def worker(self):
        process = super().worker()
        os.kill(number(process), signal.SIGKILL)
        return process


def test_another_worker_takes_the_place_of_one_that_is_killed(tmp_path, identities, server):
    with pool_of(Sweep(tmp_path, None, "cpu", server=server), 1) as pool:
        killed = pool.processes[0]
        os.kill(number(killed), signal.SIGKILL)
        assert pool.check(identities) == []
        assert pool.processes[0] is not killed and not pool.processes[0].ended


def test_workers_that_are_killed_again_and_again_end_the_check(tmp_path, identities, server):
    told = pytest.raises(FileFault, match=r"could not be checked: .* signal 9 \(SIGKILL\)")
    with pool_of(Doomed(tmp_path, None, "cpu", server=server), 1) as pool, told:
        pool.check(identities)


def test_a_server_that_is_killed_during_the_check_is_replaced(tmp_path, identities, server):
    with pool_of(Sweep(tmp_path, None, "cpu", server=server), 2) as pool:
        os.kill(os.getpgid(parent(number(pool.processes[1]))), signal.SIGKILL)
        assert pool.check(identities) == []
