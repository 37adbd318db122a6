"""Workers and the fork server that they come from, as seen from the process that started it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from lth_bench.errors import DiskFault
from lth_bench.running.messages import Began, Channel, Idle, Message, Observe, Settings
from lth_bench.storage.files import append

START = "import gc; gc.disable(); from lth_bench.running.fork_server import main; main()"  # no garbage among imports
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}
"""Makes glibc keep freed memory, which the next training step needs again.

To get it from the system anew took 10 to 14 % of the time of a ResNet-20.
"""
LOGGED = 1 << 20  # bytes of one process's output that go to its log
TAIL = 8000
_NUMBERS = itertools.count(1)


class Died(Exception):
    """A process ended before it answered; `killed` if by a signal from outside."""

    def __init__(self, code: int) -> None:
        names = {int(number): f" ({number.name})" for number in signal.Signals}
        how = f"signal {-code}{names.get(-code, '')}" if code < 0 else f"exit code {code}"
        super().__init__(f"the worker process ended with {how}")
        self.how = f"ended with {how}"
        self.killed = -code in (signal.SIGKILL, signal.SIGTERM)


class ForkServer:
    """The process of `running.fork_server`, from which workers come with all that they import.

    It can be started before anything is known of the work; workers that are asked for meanwhile come when it is ready.
    One that has ended is replaced by the next `fork`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self) -> None:
        """Starts the process, unless it runs; does not wait for it."""
        if self._server is None or self._server.process.poll() is not None:
            self._server = _Server()

    def fork(self, ends: Sequence[IO[bytes] | socket.socket]) -> Forked:
        """A new worker, which gets these ends of its channel and its output; they are closed here."""
        ours, theirs = socket.socketpair()
        with self._lock:
            self.start()
            assert self._server is not None
            forked = Forked(Channel(ours), self._server)
            self._server.ask([ends[0], theirs, *ends[1:]])
        for end in (theirs, *ends):
            end.close()
        return forked

    def stop(self) -> None:
        """Ends the process; workers that it has forked stay."""
        if self._server:
            self._server.stop()


class _Server:
    """One life of a fork server; it ends with this object at the latest."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        self._output = TemporaryFile()  # noqa: SIM115 - as long as the process
        command = [sys.executable, "-P", "-c", START, str(theirs.fileno())]  # -P: not the current folder
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**ALLOCATOR, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        theirs.close()
        self.stop = weakref.finalize(self, _end, self.process, self._requests, self._output)

    def ask(self, ends: Sequence[IO[bytes] | socket.socket]) -> None:
        with suppress(OSError):  # it has ended, which is what the worker is then taken for
            socket.send_fds(self._requests, [b"w"], [end.fileno() for end in ends])

    def printed(self) -> bytes:
        """The last bytes of what the process has printed."""
        with suppress(OSError, ValueError):
            self._output.seek(max(0, os.fstat(self._output.fileno()).st_size - TAIL))
            return self._output.read()
        return b""


def _end(process: subprocess.Popen[bytes], requests: socket.socket, output: IO[bytes]) -> None:
    if process.poll() is None:
        _kill(process.pid)
    process.wait()
    requests.close()
    output.close()


def _kill(group: int | None) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(group, signal.SIGKILL)


class Forked:
    """A process that a fork server has forked or will fork: its number, and its exit code when it has ended."""

    def __init__(self, channel: Channel, server: _Server) -> None:
        self.pid: int | None = None
        self._code: int | None = None
        self._channel, self._server = channel, server

    def poll(self) -> int | None:
        """The exit code; None before the end. A process whose server has ended is ended too, with the same code."""
        while self._code is None and self._hear(timeout=0):
            pass
        return self._code

    def wait(self) -> int:
        """The exit code, as soon as there is one."""
        while self._code is None:
            self._hear(timeout=None)
        return self._code

    def printed(self) -> bytes:
        """What the server has printed, if it ended."""
        return self._server.printed() if self._server.process.poll() is not None else b""

    def close(self) -> None:
        """Hears of the process no more; one that is not forked yet counts as killed."""
        self._code = -signal.SIGKILL if self._code is None else self._code
        self._channel.end.close()

    def _hear(self, timeout: float | None) -> bool:
        """Whether there was something to hear."""
        try:
            message = self._channel.receive(timeout)
        except (EOFError, OSError):
            _kill(self.pid)
            self._code = self._server.process.wait()
            return True
        if isinstance(message, Began):
            self.pid = message.pid
        if isinstance(message, Idle):
            self._code = message.code
        return message is not None


class Process:
    """A worker in a session of its own, and its child that works on the current request.

    Their output goes into a log, up to a limit.
    """

    def __init__(self, settings: Settings | Observe, server: ForkServer) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        output, written = os.pipe()
        self.worker = server.fork([theirs, os.fdopen(written, "wb")])
        self.log = Path(settings.directory, "logs", f"{os.getpid()}-{next(_NUMBERS)}.log")
        self._tail, self._child, self._killed = b"", 0, False
        self._drain = threading.Thread(target=self._keep_output, args=(os.fdopen(output, "rb"),), daemon=True)
        self._drain.start()
        self.ask(settings)

    @property
    def ended(self) -> bool:
        return self.worker.poll() is not None

    def ask(self, request: Message) -> None:
        with suppress(OSError):  # `answer` reports a process that has died
            self.channel.send(request)

    def answer(self, timeout: float) -> Message | None:
        """The next message; None if none comes in `timeout` seconds. Raises Died."""
        try:
            message = self.channel.receive(timeout)
            if message is None and self.ended:
                raise EOFError
        except (EOFError, OSError) as error:
            raise Died(self.worker.wait()) from error
        if isinstance(message, Began):
            self._child, self._tail = message.pid, b""
        if isinstance(message, Idle):
            self._child = 0
        return message

    def where(self) -> str:
        """The stack of the child, and the last lines of output."""
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGUSR1)
                time.sleep(0.2)
        return self.printed()

    def printed(self) -> str:
        """The last lines of output, or of the fork server's if it has ended."""
        return (self.worker.printed() or self._tail).decode(errors="replace")

    def kill(self) -> None:
        """Ends the process and all that it started; once, as other processes may get their numbers afterwards."""
        if self._killed:
            return
        self._killed = True
        _kill(self._child)
        if self.worker.poll() is None:
            _kill(self.worker.pid)
        self.channel.end.close()  # a worker that is not forked yet will end by that
        if self.worker.pid:
            self.worker.wait()
            self._drain.join(timeout=1)
        self.worker.close()

    def _keep_output(self, pipe: IO[bytes]) -> None:
        written = 0
        with pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._tail = (self._tail + piece)[-TAIL:]
                with suppress(DiskFault):  # without room for a log, the work goes on
                    append(self.log, piece[: max(0, LOGGED - written)])
                written += len(piece)
