"""Ray: long-lived tasks of a Ray cluster, each of which is a process that works on a run directory."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lth_bench import Count, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from lth_bench.running.engines import Work

ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
DIES = 1  # PR_SET_PDEATHSIG of Linux
TAIL = 2000  # characters of what a worker said last


class Gone(Exception):
    """A worker ended as no worker ends by itself: Ray starts its task once more."""


@dataclass(frozen=True)
class Ray:
    """Tasks on a Ray cluster that exists, by its `address`, or on this machine.

    `--workers` is the number of tasks, by default as many as the cluster has room for. They train on CPUs unless they
    take a share of a GPU. A task whose node dies is started elsewhere, up to `retries` times. The tasks live as long as
    this command; once it ends, their experiments write a checkpoint, and the same command goes on from there.
    """

    title: ClassVar[str] = "Ray"
    waits: ClassVar[bool] = True

    address: str = ""
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    retries: Count = 3

    def __call__(self, work: Work) -> None:
        ray = self.connected()
        try:
            self.watch(ray, self.started(ray, work), work)
        finally:
            ray.shutdown()

    def connected(self) -> Any:
        """Ray, connected to the cluster. Raises EngineError."""
        from lth_bench.running.engines import EngineError

        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise EngineError("--on ray needs the package ray: pip install 'lth-bench[ray]'") from error
        more = {"address": self.address} if self.address else {"include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", configure_logging=True, **more)
        except Exception as error:
            words = " ".join(str(error).split())[:400]
            place = f"no Ray cluster at {self.address}" if self.address else "Ray did not start here"
            raise EngineError(f"{place}: {words}") from error
        return ray

    def started(self, ray: Any, work: Work) -> list[Any]:
        """The tasks, as many as there are experiments at most. Raises EngineError."""
        from lth_bench.running.engines import EngineError

        there = ray.cluster_resources()
        wanted = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        room = min(int(there.get(name, 0) / share) for name, share in wanted.items() if share)
        if room < 1:
            raise EngineError(
                f"a worker wants {self.cpus_per_worker:g} CPUs and {self.gpus_per_worker:g} GPUs; the cluster has "
                f"{there.get('CPU', 0):g} and {there.get('GPU', 0):g}: lower --cpus-per-worker or --gpus-per-worker"
            )
        attend = ray.remote(_attend).options(
            num_cpus=self.cpus_per_worker,
            num_gpus=self.gpus_per_worker,
            max_retries=self.retries,
            retry_exceptions=[Gone],
            scheduling_strategy="SPREAD",
            name="lth-bench work",
        )
        device = () if self.gpus_per_worker else ("--device", "cpu")  # Ray does not hide GPUs that nobody took
        command, log = work.command("--workers", "1", *device), str(work.logs() / "ray")
        return [attend.remote(command, log) for _ in range(min(work.workers or room, work.experiments))]

    def watch(self, ray: Any, tasks: list[Any], work: Work) -> None:
        """Waits for the tasks, showing what they do. Raises EngineError if one could do nothing."""
        from lth_bench.running.engines import UNUSABLE, EngineError

        waiting = list(tasks)
        try:
            while waiting:
                ended, waiting = ray.wait(waiting, timeout=0.5)
                work.look()
                for task in ended:
                    status, words = ray.get(task)
                    if status == UNUSABLE:
                        raise EngineError(f"a worker could not begin: {words}")
        except ray.exceptions.RayError as error:
            words = " ".join(str(error).split())[:400]
            raise EngineError(f"Ray lost the workers: {words}; the same command goes on from there") from error
        except KeyboardInterrupt as error:
            for task in waiting:
                ray.cancel(task)
            ray.wait(waiting, num_returns=len(waiting), timeout=60)
            raise EngineError(f"stopped; {work.directory} keeps what was finished") from error


def _attend(command: list[str], log: str) -> tuple[int, str]:
    """In a task: the exit status of a worker and the last words of its log. It stops when the task does.

    Raises Gone if it was killed.
    """
    path = Path(f"{log}-{os.uname().nodename}-{os.getpid()}.log")
    with path.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent)
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    words = path.read_text(errors="replace")[-TAIL:]
    if status < 0:
        raise Gone(f"signal {-status}; {words}")
    return status, words.strip().rpartition("\n")[2]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(DIES, signal.SIGTERM)


@hookimpl
def register_engines(register: Callable[[str, type], None]) -> None:
    register("ray", Ray)
