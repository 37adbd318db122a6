"""A worker process: answers one request after the other, each in a child process."""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Literal, NoReturn

import torch

from lth_bench.errors import Busy, DiskFault, FileFault, Stopped
from lth_bench.experiments.plugins import Plugins, load_plugins
from lth_bench.running.analysing import analyse
from lth_bench.running.context import Context
from lth_bench.running.limits import Limits
from lth_bench.running.messages import (
    Answer,
    Began,
    CannotGoOn,
    Channel,
    Check,
    Checked,
    Checkpointed,
    Ended,
    Evaluate,
    Idle,
    MakeReady,
    MustWait,
    Observe,
    Progress,
    Request,
    Settings,
    Train,
)
from lth_bench.running.observing import observe
from lth_bench.running.placement import room
from lth_bench.running.plugin_files import load_copies
from lth_bench.running.preflight import faults_of, preflight
from lth_bench.running.run import evaluate, train
from lth_bench.storage.record import Identity, Record
from lth_bench.storage.store import Store
from lth_bench.training.memory import Watch
from lth_bench.training.optimizers import make_optimizer

Device = Literal["cpu", "cuda"]
LOOK = 0.5  # seconds between two looks at the progress of the main thread


def make_context(
    data_root: Path | None, device: Device, store: Store | None = None, plugins: Plugins | None = None
) -> Context:
    """The context of this process, by default with all plugins; makes torch fast and repeatable, starts no CUDA."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    return Context(plugins or load_plugins(), data_root, torch.device(device), store)


def choose(name: str) -> Device:
    """The device that "auto", "cpu" or "cuda" stands for on this machine. Raises ValueError if there is none.

    A child process looks: once a process has asked for CUDA, its forks cannot use CUDA.
    """
    if name == "cpu":
        return "cpu"
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os._exit(0 if torch.cuda.is_available() else 1)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    if status and name == "cuda":
        raise ValueError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return "cpu" if status else "cuda"


class Heartbeat:
    """Threads in the child of a request: one receives requests to stop, one sends signs of life."""

    def __init__(self, channel: Channel, watch: Watch) -> None:
        self.channel, self.watch = channel, watch

    def open(self, limits: Limits) -> None:
        self.watch.checkpoint_every = limits.checkpoint_every
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, args=(limits,), daemon=True).start()

    def _listen(self) -> None:
        """Notes a request to stop. When the other end is gone, ends this process and all that it started."""
        try:
            while self.channel.receive():
                self.watch.stopping = True
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)

    def _beat(self, limits: Limits) -> None:
        """Reports progress and, while there is some, keeps the leases on segments alive."""
        activity, since, beaten = -1, time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            if self.watch.activity != activity:
                activity, since = self.watch.activity, now
                self.channel.send(Progress(activity))
            if now - since < limits.stall and now - beaten > limits.patience / 4:
                for lease in list(self.watch.leases):
                    with suppress(FileFault):  # the next beat may do better
                        lease.beat()
                beaten = now
            time.sleep(min(LOOK, limits.patience / 4))


def serve(channel: Channel, plugins: Plugins) -> None:
    """Answers requests until the other end closes, each in a child that has all imports and data already.

    So an experiment starts in milliseconds and cannot affect the next. The first message is the settings. Idle follows
    when a child has ended, with or without an answer. A Stop that arrives while no child runs is ignored.
    """
    settings = channel.receive()
    if isinstance(settings, Observe):
        observe(channel, settings, plugins)
        return
    assert isinstance(settings, Settings)
    store = Store(Path(settings.store), settings.limits.patience) if settings.store else None
    load_copies(Path(settings.plugins), plugins)
    try:
        root = Path(settings.data) if settings.data else None
        context = make_context(root, choose(settings.device), store, plugins)
        context.loaders = settings.loaders
        context.weights = {digest: Path(path) for digest, path in settings.weights.items()}
    except ValueError as error:
        channel.send(CannotGoOn(str(error)))
        return
    if changed := context.code.changed(settings.code):
        unloaded = [broken.reason for broken in plugins.broken if not broken.provider.module]
        channel.send(CannotGoOn("; ".join([*changed, *unloaded])))
        return
    warm: set[str] = set()
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        if isinstance(request, MakeReady | Train | Evaluate) and _data(request.identity) not in warm:
            warm_up(context, request.identity)
            warm.add(_data(request.identity))
        if isinstance(request, Request):
            channel.send(Idle(_in_child(request, settings, context, channel)))


def _data(identity: Identity) -> str:
    return str(identity.experiment.dataset)


def _in_child(request: Request, settings: Settings, context: Context, channel: Channel) -> int:
    """Lets a child work on a request; returns its exit code."""
    gc.freeze()  # else the garbage collector of the child would copy every page
    pid = os.fork()
    if pid == 0:
        gc.enable()
        os.setpgid(0, 0)
        _answer(request, settings, context, Heartbeat(channel, context.watch))
    with suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)
    status = _wait(pid, channel)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _wait(child: int, channel: Channel) -> int:
    """The exit status of a child; it is killed when the other end of the channel closes, if the system can tell."""
    with suppress(AttributeError, OSError):
        handle = os.pidfd_open(child)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(channel.end, select.POLLRDHUP)
        if handle not in dict(poll.poll()):
            os.kill(child, signal.SIGKILL)
        os.close(handle)
    return os.waitpid(child, 0)[1]


def warm_up(context: Context, identity: Identity) -> None:
    """Reads the training data and imports what a Session imports late.

    Nothing here may start a thread or a device, as the process forks later.
    """
    with suppress(Exception):  # the experiment itself reports what is wrong
        context.read(identity.experiment.dataset)
        if context.device.type == "cpu":
            session = context.session(identity.experiment)
            make_optimizer(session.recipe, session.model)


def _answer(request: Request, settings: Settings, context: Context, heartbeat: Heartbeat) -> NoReturn:
    """Works on a request, sends the answer, and ends the process."""
    limits = settings.limits
    try:
        if limits.memory and isinstance(request, Train):
            resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
        heartbeat.open(limits)
        if settings.observed and isinstance(request, Train):
            context.watch.tell = heartbeat.channel.send
        heartbeat.channel.send(Began(os.getpid()))
        try:
            answer = _worked(request, Path(settings.directory), context)
        except DiskFault as error:
            answer = CannotGoOn(str(error))
        heartbeat.channel.send(answer)
        with suppress(Exception):  # a plugin may have closed it
            sys.stdout.flush()
    except BaseException:
        with suppress(Exception):
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _worked(request: Request, directory: Path, context: Context) -> Answer:
    if isinstance(request, Check):
        return _checked(request, context)
    if isinstance(request, Train):
        return _trained(request, directory, context)
    return Ended(evaluate(request, directory, context))


def _checked(request: Check, context: Context) -> Checked:
    faults = (faults_of if request.finished else preflight)(request.experiments, context)
    return Checked(faults, room(request.experiments, context) if request.room and not faults else 0)


def _trained(request: Train, directory: Path, context: Context) -> Answer:
    """The answer of `train` or `analyse`, or that the experiment waits for a segment or was stopped."""
    try:
        trained = (analyse if request.identity.analysis else train)(request, directory, context)
    except Busy as error:
        return MustWait(error.key, request.spent)
    except Stopped:
        return Checkpointed(request.spent)
    return Ended(trained) if isinstance(trained, Record) else trained
