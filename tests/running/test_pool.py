"""Workers that are killed while they check experiments are replaced."""

from __future__ import annotations

import os
import signal

import pytest

from lth_bench.errors import FileFault
from lth_bench.experiments.experiment import Choice, Experiment, Planned
from lth_bench.running.pool import WorkerPool
from lth_bench.running.sweep import Sweep
from lth_bench.storage.record import identity
from support.networks import recipe
from support.runners import parent
from support.workers import number


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


def test_another_worker_takes_the_place_of_one_that_is_killed(tmp_path, identities):
    pool = WorkerPool(Sweep(tmp_path, None, "cpu"), 1, 1)
    try:
        killed = pool.processes[0]
        os.kill(number(killed), signal.SIGKILL)
        assert pool.check(identities) == []
        assert pool.processes[0] is not killed and not pool.processes[0].ended
    finally:
        pool.dismiss()


def test_workers_that_are_killed_again_and_again_end_the_check(tmp_path, identities):
    pool = WorkerPool(Doomed(tmp_path, None, "cpu"), 1, 1)
    try:
        with pytest.raises(FileFault, match=r"could not be checked: .* signal 9 \(SIGKILL\)"):
            pool.check(identities)
    finally:
        pool.dismiss()


def test_a_server_that_is_killed_during_the_check_is_replaced(tmp_path, identities):
    pool = WorkerPool(Sweep(tmp_path, None, "cpu"), 2, 2)
    try:
        os.kill(os.getpgid(parent(number(pool.processes[1]))), signal.SIGKILL)
        assert pool.check(identities) == []
    finally:
        pool.dismiss()
