"""`lth-bench work`, and engines as `lth-bench run --on` gets them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from lth_bench.storage.records import recorded
from lth_bench.storage.sealed import publish_json, read_json
from support.places import COMMAND
from support.runners import published_twice
from support.suites import pruner, results, write_suite

ENGINE = """
import subprocess
from dataclasses import dataclass
from typing import ClassVar

from lth_bench import hookimpl


@dataclass(frozen=True)
class Here:
    waits: ClassVar[bool] = True
    processes: int = 2

    def __call__(self, work):
        command = work.command("--workers", "1")
        running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(self.processes)]
        for process in running:
            process.wait()
            work.look()


@hookimpl
def register_engines(register):
    register("here", Here)
"""


BREAKS = """
from dataclasses import dataclass

from lth_bench import hookimpl


@dataclass(frozen=True)
class Breaks:
    def __call__(self, session):
        session.train(until=3)
        raise RuntimeError("it broke")


@hookimpl
def register_pruners(register):
    register("breaks", Breaks)
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Eight experiments."""
    path = tmp_path_factory.mktemp("suite") / "fleet.toml"
    return write_suite(path, pruner("magnitude") + pruner("random"), seeds=[0, 1], duration="1ep")


@pytest.fixture(scope="module")
def plan(suite, tmp_path_factory):
    directory = tmp_path_factory.mktemp("plan") / "out"
    subprocess.run([COMMAND, "run", suite, "--out", directory, "--on", "print"], check=True, capture_output=True)
    return directory


@pytest.fixture
def planned(plan, tmp_path):
    """A directory with eight experiments to be done."""
    return shutil.copytree(plan, tmp_path / "out")


def change(directory, change):
    order = read_json(directory / "work.json")
    change(order)
    publish_json(directory / "work.json", order)


def test_workers_give_the_results_of_a_run(suite, planned, tmp_path, command):
    assert command("run", suite, "--out", tmp_path / "alone", "--no-report").returncode == 0
    done = command("work", planned, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "8 experiments: 8 done" in done.stdout
    assert results(planned) == results(tmp_path / "alone") and not published_twice(planned)
    assert command("work", planned).returncode == 0


def test_a_moved_directory_goes_on_where_it_lies(planned, tmp_path, command):
    moved = planned.rename(tmp_path / "elsewhere")
    assert command("work", moved, "--workers", "1").returncode == 0
    assert len(recorded(moved)) == 8 and (moved / "store").is_dir() and not planned.exists()


def test_an_engine_from_a_file_supplies_workers(suite, tmp_path, command):
    (tmp_path / "here.py").write_text(ENGINE)
    more = ("--plugin", tmp_path / "here.py", "--on", "here")
    done = command("run", suite, "--out", tmp_path / "out", *more, "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert "8 experiments wait" in done.stdout and "   8/8" in done.stdout and "Written:" in done.stdout
    assert "here" in command("list", "engines", "--plugin", tmp_path / "here.py").stdout


def test_a_failed_experiment_is_tried_once_a_run_however_many_workers_come(tmp_path, command):
    (tmp_path / "breaks.py").write_text(BREAKS)
    suite, directory = write_suite(tmp_path / "bad.toml", pruner("breaks"), sparsities=[0.9]), tmp_path / "out"
    for tries in (1, 2):
        command("run", suite, "--out", directory, "--on", "print", "--plugin", tmp_path / "breaks.py")
        for _ in range(2):
            done = command("work", directory, "--workers", "1")
            assert done.returncode == 1 and "1 experiments: 1 failed" in done.stdout and "status" in done.stderr
        assert len(list((directory / "failures").glob("*"))) == tries - 1


def test_time_that_is_over_leaves_the_rest(tmp_path, command):
    suite, directory = write_suite(tmp_path / "long.toml", pruner("magnitude"), duration="20000ep"), tmp_path / "out"
    command("run", suite, "--out", directory, "--on", "print")
    done = command("work", directory, "--workers", "1", "--until", "8s")
    assert done.returncode == 75 and "Time is nearly over" in done.stderr
    assert any((directory / "store").rglob("*")) and not recorded(directory)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--until", "soon"], "--until cannot be read: a limit is a number with a unit"),
        (["--device", "gpu"], "gpu"),
    ],
)
def test_options_that_cannot_be_read_are_refused(planned, command, options, words):
    done = command("work", planned, *options)
    assert done.returncode == 2 and words in done.stderr


def test_a_directory_without_work_is_refused(tmp_path, command):
    done = command("work", tmp_path / "nowhere")
    assert done.returncode == 2 and "there is no run directory" in done.stderr
    (tmp_path / "empty").mkdir()
    done = command("work", tmp_path / "empty")
    assert done.returncode == 2 and "run its suite with --out" in done.stderr


def test_a_damaged_order_is_refused_and_written_anew(suite, planned, command):
    path = planned / "work.json"
    path.write_text(path.read_text().replace("magnitude", "magnitud"))
    assert command("work", planned).returncode == 2
    command("run", suite, "--out", planned, "--on", "print")
    assert list((planned / "damaged").iterdir()) and command("work", planned, "--workers", "1").returncode == 0


def test_other_versions_and_other_code_are_refused(planned, command):
    change(planned, lambda order: order["versions"].update(torch="2.0.0"))
    done = command("work", planned)
    assert done.returncode == 2 and "and 2.0.0 where the run was started; install torch 2.0.0 here" in done.stderr
    change(planned, lambda order: order["settings"]["code"][0].update(sha256="0" * 64))
    done = command("work", planned)
    assert done.returncode == 2 and "has changed since this run began" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--on", "slrm"], "no engine 'slrm'; did you mean 'slurm'?"),
        (["--on", "slurm", "--tim", "2h"], "no such parameter of 'slurm'; did you mean 'time'?"),
        (["--on", "slurm", "--array", "0"], "array"),
        (["--on", "slurm", "--array"], "--array needs a value"),
        (["--on", "print", "--time", "1m"], "--time 1m is too short"),
        (["--on", "print", "--time", "1h", "--time-limit", "2h"], "may take 120 minutes; give at least --time 122m"),
        (["--on", "print", "--time", "soon"], "--time cannot be read"),
        (["--wrkers", "2"], "no such option: --wrkers; did you mean '--workers'?"),
        (["quickstart"], "one argument too many"),
    ],
)
def test_engines_and_options_that_do_not_exist_are_refused(suite, tmp_path, command, options, words):
    done = command("run", suite, "--out", tmp_path / "out", *options)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_a_machine_without_slurm_or_ray_says_so(suite, tmp_path, command, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command("run", suite, "--out", tmp_path / "out", "--on", "slurm")
    assert done.returncode == 2 and "sbatch is not on the PATH of this machine" in done.stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    done = command("run", suite, "--out", tmp_path / "out", "--on", "ray")
    assert done.returncode == 2 and "pip install 'lth-bench[ray]'" in done.stderr


def test_a_printed_script_is_valid_and_names_its_commands(suite, planned, command):
    done = command(
        "run", suite, "--out", planned, "--on", "print", "--array", "3", "--workers", "2", "--partition", "p"
    )
    script = planned / "jobs" / "slurm.sh"
    assert f"sbatch {script}" in done.stdout and "ray job submit" in done.stdout
    text = script.read_text()
    assert {"#SBATCH --array=0-2", "#SBATCH --cpus-per-task=2", "#SBATCH --partition=p"} <= set(text.splitlines())
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(("status", "again"), [(0, False), (1, False), (75, True)])
def test_a_job_is_queued_again_only_if_time_was_over(planned, tmp_path, status, again):
    worker, told = tmp_path / "worker", tmp_path / "told"
    worker.write_text(f"#!/bin/bash\ntrap 'exit {status}' USR2\nwhile :; do sleep 0.1; done\n")
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    for path in (worker, tmp_path / "scontrol"):
        path.chmod(0o755)
    text = (planned / "jobs" / "slurm.sh").read_text()
    lines = [f"{worker} &" if line.endswith("&") else line for line in text.splitlines()]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "7"}
    job = subprocess.Popen(["bash", "-c", "\n".join(lines)], env={**environment, "SLURM_ARRAY_TASK_ID": "1"})
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(timeout=1)
    job.send_signal(12)
    assert job.wait(timeout=10) == status
    assert told.exists() == again and (not again or told.read_text() == "requeue 7_1\n")
