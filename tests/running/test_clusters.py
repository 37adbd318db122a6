"""One suite on this machine, on Slurm and on Ray: the same records, whatever is killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from lth_bench.storage.records import recorded
from support import clusters
from support.clusters import soon
from support.runners import published, published_twice
from support.suites import pruner, results, write_suite

WORK = [sys.executable, "-m", "lth_bench.cli"]
METHODS = ("magnitude", "snip", "random")


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """48 experiments of a second each."""
    path = tmp_path_factory.mktemp("suite") / "fleet.toml"
    methods = "".join(map(pruner, METHODS))
    return write_suite(path, methods, seeds=[0, 1, 2, 3], sparsities=[0.5, 0.8, 0.9, 0.95], duration="4ep")


@pytest.fixture(scope="module")
def alone(suite, tmp_path_factory):
    """The results of a run on this machine."""
    directory = tmp_path_factory.mktemp("alone")
    command = [*WORK, "run", suite, "--out", directory, "--workers", "2", "--no-report"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return results(directory)


def check(directory, alone):
    """Nothing is lost, nothing doubled, and all is as it would be without a cluster, bit for bit.

    A worker that is killed after it has published may not have noted it.
    """
    assert len(alone) == 48 and results(directory) == alone
    assert set(published(directory)) <= alone.keys() and not published_twice(directory)


@pytest.mark.timeout(500)
def test_slurm_with_a_job_cancelled_a_node_killed_and_a_second_engine(suite, alone, tmp_path):
    directory, folder = tmp_path / "out", tmp_path / "slurm"
    folder.mkdir()
    with clusters.slurm(folder) as space:
        run = [*WORK, "run", suite, "--out", directory, "--on", "slurm", "--array", "2", "--time", "10m"]
        job = space.run(*run).partition(" as ")[2].partition(";")[0]
        soon(lambda: len(recorded(directory)) > 4)
        space.run("scancel", f"{job}_0")
        assert "1 running" in soon(lambda: said if "2 running" not in (said := jobs(space, directory)) else "")
        assert "submitted 1 job as" in space.run(*run)
        space.run("pkill", "-KILL", "-f", f"lth_bench.cli work {directory}")
        second = space.popen(*WORK, "work", directory, "--workers", "1", stdout=subprocess.DEVNULL)
        assert second.wait() == 0
    check(directory, alone)


def jobs(space, directory):
    return space.run(*WORK, "status", directory)


@pytest.mark.timeout(500)
def test_ray_with_a_node_killed_the_driver_killed_and_a_second_engine(suite, alone, tmp_path):
    directory, folder = tmp_path / "out", tmp_path / "ray"
    folder.mkdir()
    with clusters.ray(folder) as (space, address, second):
        run = [*WORK, "run", suite, "--out", directory, "--on", "ray", "--address", address, "--no-report"]
        driver = space.popen(*run, stdout=subprocess.DEVNULL)
        soon(lambda: len(recorded(directory)) > 4)
        second.kill()
        done = len(recorded(directory))
        soon(lambda: len(recorded(directory)) > done + 4)
        driver.send_signal(signal.SIGKILL)
        other = space.popen(*WORK, "work", directory, "--workers", "1", stdout=subprocess.DEVNULL)
        space.run(*run)
        assert other.wait() == 0 and driver.wait() == -signal.SIGKILL and second.wait()
    check(directory, alone)
