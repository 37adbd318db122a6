"""Real clusters of two nodes on this machine: Slurm and Ray in a network and process namespace of their own.

A namespace ends with the process that holds it, and all daemons and workers in it with that.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PACKAGES = ["slurmctld", "slurmd", "slurm-client", "munge", "iproute2"]
NODES = ("one", "two")
SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdTimeout=5
KillWait=5
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Namespace:
    """Commands run inside, with `environment` added to that of this process."""

    def __init__(self) -> None:
        keeper = "ip link set lo up && ip address add 10.0.0.1/32 dev lo && exec sleep infinity"
        command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", keeper]
        self._holder = subprocess.Popen(command)
        self._entry = ["nsenter", "--target", str(self._inner()), "--net", "--pid", "--mount"]
        self.environment: dict[str, str] = {}

    def _inner(self) -> int:
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        return int(soon(lambda: children.read_text().split() or None)[0])

    def popen(self, *command, **options) -> subprocess.Popen:
        return subprocess.Popen([*self._entry, *map(str, command)], env=self._environment(), **options)

    def run(self, *command) -> str:
        done = subprocess.run(
            [*self._entry, *map(str, command)], env=self._environment(), text=True, capture_output=True, timeout=120
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", **self.environment}

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@contextmanager
def namespace():
    """A namespace; what needs it is skipped where the system allows none, but not in CI."""
    if subprocess.run(["unshare", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        _absent("this machine does not let us make namespaces")
    with ExitStack() as ends:
        space = Namespace()
        ends.callback(space.close)
        yield space


@contextmanager
def slurm(folder: Path):
    """Slurm's controller and two nodes with one processor each; gives the namespace in which its commands work."""
    _install()
    for name in ("munge", "state"):
        (folder / name).mkdir(mode=0o700)
    key, config = folder / "munge" / "key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={7001 + number} CPUs=1 RealMemory=1000"
        for number, name in enumerate(NODES)
    ]
    config.write_text(SLURM.format(host=host, folder=folder, nodes="\n".join(nodes)))
    with namespace() as space:
        space.environment["SLURM_CONF"] = str(config)
        files = {name: folder / "munge" / name for name in ("socket", "pid", "log", "seed")}
        options = {f"{name}-file": files[name] for name in ("pid", "log", "seed")}
        space.run(
            "munged", "--force", f"--key-file={key}", f"--socket={files['socket']}",
            *(f"--{name}={path}" for name, path in options.items()),
        )  # fmt: skip
        space.run("slurmctld", "-c")
        for name in NODES:
            space.run("slurmd", "-N", name)
        soon(lambda: space.run("sinfo", "--noheader", "--Node", "--format=%t").split() == ["idle"] * 2)
        yield space


@contextmanager
def ray(folder: Path):
    """Two nodes of Ray with one processor each; gives their namespace, the address, and the process of the second."""
    pytest.importorskip("ray")
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"]
    common = ["--node-ip-address=127.0.0.1", "--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000"]
    token, address = folder / "token", "127.0.0.1:6379"
    token.write_text(secrets.token_hex(32))
    with namespace() as space, TemporaryDirectory(prefix="ray") as short:  # its sockets allow no long path
        space.environment.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(token),
            RAY_USAGE_STATS_ENABLED="0",
        )
        space.run(*command, "--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={short}", *common)
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        second = space.popen(*command, f"--address={address}", "--block", *common, **silent)
        count = "import ray; ray.init(address='auto', log_to_driver=False); print(len(ray.nodes()))"
        soon(lambda: space.run(sys.executable, "-c", count).split()[-1] == "2")
        yield space, address, second


def soon(found, within: float = 60.0):
    """What a function finds, as soon as it is something."""
    end = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.2)
    return value


def _install() -> None:
    """Installs Slurm from Debian where it is absent and this process may."""
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged", "ip")):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        _absent("Slurm is not installed here")
    quiet = {"check": True, "capture_output": True, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq", "-o", "Acquire::Retries=3"], **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], **quiet)


def _absent(why: str) -> None:
    """Skips a test, but fails in CI, where nothing may be left out."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
