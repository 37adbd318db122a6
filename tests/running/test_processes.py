"""Workers come from one fork server; what becomes of them and of it is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from lth_bench.running.messages import Stop
from lth_bench.running.processes import ALLOCATOR, Died
from lth_bench.running.sweep import Sweep
from support.runners import parent
from support.workers import number

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    made = Sweep(tmp_path_factory.mktemp("sweep"), None, "cpu")
    yield made
    made.server.stop()


@pytest.fixture
def workers(sweep):
    """Two workers of one server, alive."""
    made = [sweep.worker() for _ in range(2)]
    for process in made:
        number(process)
    yield made
    for process in made:
        process.kill()


def ends(process):
    """How a worker died, which has been asked for nothing."""
    with pytest.raises(Died) as death:
        while process.answer(0.2) is None:
            pass
    return str(death.value), death.value.killed


@NEEDS_PROC
def test_workers_come_from_one_server_with_its_environment_each_in_a_session_of_its_own(workers):
    parents = {parent(process.worker.pid) for process in workers}
    assert len(parents) == 1 and parents.isdisjoint({os.getpid()})
    assert {os.getsid(process.worker.pid) for process in workers} == {process.worker.pid for process in workers}

    environment = Path(f"/proc/{workers[0].worker.pid}/environ").read_bytes().split(b"\0")
    assert {f"{name}={value}".encode() for name, value in ALLOCATOR.items()} <= set(environment)


def test_the_end_of_one_worker_is_told_and_leaves_the_other_alone(workers):
    killed, other = workers
    os.kill(killed.worker.pid, signal.SIGKILL)
    assert ends(killed) == ("the worker process ended with signal 9 (SIGKILL)", True)
    assert killed.ended and not other.ended
    other.channel.end.close()  # as when the launcher has gone
    assert other.worker.wait() == 0


@NEEDS_PROC
def test_workers_end_with_their_server_and_the_next_one_gets_a_new_server(sweep, workers):
    os.kill(parent(workers[0].worker.pid), signal.SIGKILL)
    assert [ends(process) for process in workers] == [("the worker process ended with signal 9 (SIGKILL)", True)] * 2
    replaced = sweep.worker()
    replaced.ask(Stop())  # which is ignored while no child runs
    assert replaced.answer(0.2) is None and not replaced.ended
    replaced.kill()


def test_what_a_server_has_printed_before_it_died_is_told(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    about = folder / "quitter-1.0.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: quitter\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text("[lth_bench]\nquitter = quitter\n")
    folder.joinpath("quitter.py").write_text("import os\nprint('I leave', flush=True)\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    process = Sweep(tmp_path, None, "cpu").worker()
    assert ends(process) == ("the worker process ended with exit code 3", False)
    assert process.printed() == "I leave\n"
    process.kill()


def test_a_worker_that_is_not_forked_yet_can_be_dismissed(tmp_path):
    new = Sweep(tmp_path, None, "cpu")
    started = time.monotonic()
    new.worker().kill()
    assert time.monotonic() - started < 1
