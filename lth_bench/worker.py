"""A worker process: answers requests to train, or to evaluate, one after the other, on one thread."""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch

from lth_bench.files import DiskFault
from lth_bench.ledger import Spent
from lth_bench.limits import Limits
from lth_bench.memory import Busy, Stopped, Watch
from lth_bench.plugins import load_plugins
from lth_bench.run import evaluate, train
from lth_bench.site import Site
from lth_bench.store import Store

Device = Literal["auto", "cpu", "cuda"]
Message = dict[str, Any]
LOOK = 0.5  # seconds between two looks at what the main thread has done


def make_site(data_root: Path | None, device: Device, store: Store | None = None) -> Site:
    """The site of this process, with torch made repeatable. Raises ValueError if there is no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device here; use --device cpu")
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if on_cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    return Site(load_plugins(), data_root, torch.device("cuda" if on_cuda else "cpu"), store)


class Desk:
    """The worker's end of the connection: what comes in, and signs of life that go out."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.requests: queue.Queue[Message] = queue.Queue()
        self.watch = Watch()
        self._lock = threading.Lock()

    def open(self, limits: Limits) -> None:
        self.watch.checkpoint_every = limits.checkpoint_every
        for work, arguments in ((self._listen, ()), (self._beat, (limits,))):
            threading.Thread(target=work, args=arguments, daemon=True).start()

    def send(self, message: Message) -> None:
        with self._lock:
            self.connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> Message:
        return dict(json.loads(self.connection.recv_bytes()))

    def _listen(self) -> None:
        """Takes requests in; when the other end has gone, so does this process, with all that it started."""
        try:
            while True:
                message = self.receive()
                if "stop" in message:
                    self.watch.stopping = True
                else:
                    self.requests.put(message)
        except (EOFError, OSError):
            os.killpg(os.getpid(), signal.SIGKILL)

    def _beat(self, limits: Limits) -> None:
        """Tells of progress, and keeps leases on segments alive while there is some."""
        seen, since, beaten = -1, time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            if self.watch.activity != seen:
                seen, since = self.watch.activity, now
                self.send({"progress": seen})
            if now - since < limits.stall and now - beaten > limits.patience / 4:
                for lease in list(self.watch.leases):
                    lease.beat()
                beaten = now
            time.sleep(min(LOOK, limits.patience / 4))


def serve(role: Literal["train", "evaluate"], desk: Desk) -> None:
    """Answers requests until the other end closes; the first message says where and how to work."""
    settings = desk.receive()
    limits, directory = Limits(**settings["limits"]), Path(settings["directory"])
    if limits.memory and role == "train":
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    desk.open(limits)
    data = settings["data"] and Path(settings["data"])
    store = Store(Path(settings["store"]), limits.patience) if settings["store"] else None
    site = make_site(data, settings["device"], store)
    site.watch = desk.watch
    desk.send({"ready": os.getpid()})
    work = _train if role == "train" else _evaluate
    while True:
        desk.send(_answer(work, desk.requests.get(), directory, site))


def _answer(work: Callable[[Message, Path, Site], Message], request: Message, directory: Path, site: Site) -> Message:
    try:
        return work(request, directory, site)
    except DiskFault as error:
        return {"status": "fault", "message": str(error)}


def _train(request: Message, directory: Path, site: Site) -> Message:
    """The answer of `train`, or that the experiment has to wait for a segment, or was stopped."""
    spent = Spent(**request["spent"])
    try:
        trained = train(request["identity"], directory, site, spent)
    except Busy as error:
        return {"status": "busy", "segment": error.key, "spent": vars(spent)}
    except Stopped:
        return {"status": "stopped"}
    return trained


def _evaluate(request: Message, directory: Path, site: Site) -> Message:
    return {"record": evaluate(request["identity"], request["trained"], directory, site)}


def main() -> None:
    role, handle = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    serve("train" if role == "train" else "evaluate", Desk(Connection(int(handle))))


if __name__ == "__main__":
    main()
