"""A worker process: runs the experiments it is told, one after the other, on one thread."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch

from lth_bench.plugins import load_plugins
from lth_bench.records import write_record
from lth_bench.run import Site, run

Device = Literal["auto", "cpu", "cuda"]


def make_site(data_root: Path | None, device: Device) -> Site:
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
    return Site(load_plugins(), data_root, torch.device("cuda" if on_cuda else "cpu"))


def work(connection: Connection, directory: Path, data_root: Path | None, device: Device) -> None:
    """Serves until the other end closes: receives an identity, publishes its record, answers with its status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _redirect_output(directory)
    site = make_site(data_root, device)
    while True:
        try:
            identity: dict[str, Any] = connection.recv()
        except EOFError:
            return
        record = run(identity, directory, site)
        write_record(directory, record)
        connection.send(record["status"])


def _redirect_output(directory: Path) -> None:
    """Sends what plugins print to a log, so that it cannot spoil the display."""
    folder = directory / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / f"worker-{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
