"""Slurm: an array of jobs that work on a run directory. The script of such a job, printed instead of submitted."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lth_bench import Count, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from lth_bench.running.engines import Job, Work

SCRIPT = """\
#!/bin/bash
{options}

# The signal comes to this shell alone, before the end of the job's time: experiments write a checkpoint then.
trap 'kill -USR2 "$worker" 2>/dev/null' USR2
trap 'kill -TERM "$worker" 2>/dev/null' TERM
{command} &
worker=$!
while kill -0 "$worker" 2>/dev/null; do
    wait "$worker"
    status=$?
done
if [ "$status" -eq {time_over} ]; then # work is left: the same job once more, behind others that wait
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$status"
"""
CLOSING = 120  # seconds before the end of a job's time at which its experiments are asked to stop
LEAST = 300  # seconds that a job must have, for its start and that end


@dataclass(frozen=True)
class Slurm:
    """An array of Slurm jobs, each of which takes experiments until none is left or its `time` is nearly over.

    A job whose time is over while work is left is queued once more. `array` is the number of jobs, by default one for
    each experiment and at most 16; `--workers` that of processes in each, by default 1. `sbatch` are further options,
    such as ["--account=me"].
    """

    title: ClassVar[str] = "Slurm"
    waits: ClassVar[bool] = False

    partition: str = ""
    time: str = "1h"
    gres: str = ""
    memory: str = ""
    array: Count | None = None
    sbatch: tuple[str, ...] = ()

    def __call__(self, work: Work) -> None:
        from lth_bench.running.engines import EngineError, Job

        if (jobs := self.missing(work)) < 1:
            raise EngineError(f"{self.wanted(work)} jobs work on {work.directory} already, as lth-bench status shows")
        script = work.keep("slurm.sh", self.script(work, jobs))
        name = _run(["sbatch", "--parsable", str(script)]).strip().partition(";")[0]
        work.note(Job("slurm", name, jobs))
        print(f"submitted {jobs} job{'s' * (jobs > 1)} as {name}; see lth-bench status {work.directory}")  # noqa: T201

    def standing(self, job: Job) -> str:
        states = _states(job.name)
        return ", ".join(f"{count} {state.lower()}" for state, count in Counter(states).items())

    def wanted(self, work: Work) -> int:
        """How many jobs are to work on the directory."""
        return self.array or min(16, work.experiments)

    def missing(self, work: Work) -> int:
        """How many of these are neither queued nor running."""
        from lth_bench.running.engines import noted

        return self.wanted(work) - sum(len(_states(job.name)) for job in noted(work.directory) if job.engine == "slurm")

    def script(self, work: Work, jobs: int) -> str:
        """The batch script of so many jobs. Raises EngineError."""
        from lth_bench.running.engines import TIME_OVER

        workers = work.workers or 1
        logs = work.logs() / "slurm-%A-%a.log"
        options = {
            "job-name": "lth-bench",
            "partition": self.partition,
            "array": f"0-{jobs - 1}",
            "cpus-per-task": workers,
            "time": math.ceil(self.seconds(work) / 60),
            "gres": self.gres,
            "mem": self.memory,
            "signal": f"B:USR2@{CLOSING}",
            "open-mode": "append",
            "output": logs,
        }
        lines = [f"--{name}={value}" for name, value in options.items() if value != ""]
        return SCRIPT.format(
            options="\n".join(f"#SBATCH {line}" for line in [*lines, "--requeue", *self.sbatch]),
            command=shlex.join(work.command("--workers", str(workers))),
            time_over=TIME_OVER,
        )

    def seconds(self, work: Work) -> float:
        """The time of a job. Raises EngineError if it is too short for an experiment."""
        from lth_bench.running.engines import EngineError
        from lth_bench.running.limits import seconds

        try:
            time = seconds(self.time)
        except ValueError as error:
            raise EngineError(f"--time cannot be read: {error}") from error
        if time < max(LEAST, work.longest + CLOSING):
            need = math.ceil(max(LEAST, work.longest + CLOSING) / 60)
            why = f"an experiment here may take {work.longest / 60:.0f} minutes" if work.longest else "a job must start"
            raise EngineError(f"--time {self.time} is too short, as {why}; give at least --time {need}m")
        return time


@dataclass(frozen=True)
class Print(Slurm):
    """Submits nothing: writes a script for Slurm, and prints the commands that submit it there and on a Ray cluster."""

    title: ClassVar[str] = "a script, not submitted"

    def __call__(self, work: Work) -> None:
        jobs, workers = self.wanted(work), work.workers or 1
        script = work.keep("slurm.sh", self.script(work, jobs))
        ray = f"ray job submit --no-wait --entrypoint-num-cpus {workers}"
        command = shlex.join(work.command("--workers", str(workers)))
        print(f"sbatch {shlex.quote(str(script))}\n")  # noqa: T201
        print(f"for i in $(seq {jobs}); do {ray} -- {command}; done")  # noqa: T201


def _states(job: str) -> list[str]:
    """The states of the jobs of an array that are queued or running; none once Slurm has forgotten them."""
    from lth_bench.running.engines import EngineError

    try:
        return _run(["squeue", "--noheader", "--array", "--format=%T", f"--jobs={job}"]).split()
    except EngineError as error:
        if "Invalid job id" in str(error):
            return []
        raise


def _run(command: list[str]) -> str:
    """What a command of Slurm prints. Raises EngineError, with what it says."""
    from lth_bench.running.engines import EngineError

    if shutil.which(command[0]) is None:
        raise EngineError(
            f"{command[0]} is not on the PATH of this machine; start this where jobs are submitted, or use --on print"
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        words = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        raise EngineError(f"{command[0]} refused: {words or f'exit status {done.returncode}'}")
    return done.stdout


@hookimpl
def register_engines(register: Callable[[str, type], None]) -> None:
    register("slurm", Slurm)
    register("print", Print)
