"""The fork server: imports once what all workers need, forks them on request, and tells how each one ends."""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from lth_bench.experiments.plugins import Plugins, load_plugins
from lth_bench.running.messages import Began, Channel, Idle
from lth_bench.running.worker import serve

ENDS = 3  # of a request: a worker's channel, the channel that tells of the worker, and the pipe for its output


def main() -> None:
    """Runs in a process of its own until the process that started it closes its end of the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    plugins = load_plugins()
    gc.freeze()  # else the garbage collector of a worker would copy every page
    _serve(socket.socket(fileno=int(sys.argv[1])), plugins)


def _serve(requests: socket.socket, plugins: Plugins) -> None:
    """Forks a worker for each request, and sends Began and Idle with its process number and its exit code."""
    ended, signalled = _child_signals()
    workers: dict[int, Channel] = {}
    while True:
        ready, _, _ = select.select([requests, ended], [], [])
        if ended in ready:
            ended.recv(1 << 16)
            _tell_ends(workers)
        if requests in ready:
            mark, ends, _, _ = socket.recv_fds(requests, 1, ENDS)
            if not mark:
                return
            channel, about, output = ends
            sys.stdout.flush()
            if (pid := os.fork()) == 0:
                for end in (requests, ended, signalled, *(other.end for other in workers.values())):
                    end.close()
                os.close(about)
                _work(channel, output, plugins)
            os.close(channel)
            os.close(output)
            workers[pid] = Channel(socket.socket(fileno=about))
            _tell(workers[pid], Began(pid))


def _child_signals() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets; the first can be read after a child has ended."""
    ended, signalled = socket.socketpair()
    signalled.setblocking(False)
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)  # without a handler, no byte is written
    return ended, signalled


def _tell_ends(workers: dict[int, Channel]) -> None:
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if channel := workers.pop(pid, None):
            _tell(channel, Idle(os.waitstatus_to_exitcode(status)))
            channel.end.close()


def _tell(channel: Channel, message: Began | Idle) -> None:
    with suppress(OSError):  # nobody listens any more
        channel.send(message)


def _work(channel: int, output: int, plugins: Plugins) -> NoReturn:
    """Serves as a worker in a session of its own, and ends the process."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    try:
        serve(Channel(socket.socket(fileno=channel)), plugins)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
    os._exit(0)
