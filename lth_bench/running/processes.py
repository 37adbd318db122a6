"""A worker process, as seen from the process that started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from lth_bench.errors import DiskFault
from lth_bench.running.messages import Began, Channel, Idle, Message, Settings
from lth_bench.storage.files import append

START = "import gc; gc.disable(); from lth_bench.running.worker import main; main()"  # no garbage among imports
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}
"""Makes glibc keep freed memory, which the next training step needs again.

To get it from the system anew took 10 to 14 % of the time of a ResNet-20.
"""
LOGGED = 1 << 20  # bytes of one process's output that go to its log
TAIL = 8000


class Died(Exception):
    """A process ended before it answered; `killed` if by a signal from outside."""

    def __init__(self, code: int) -> None:
        names = {int(number): f" ({number.name})" for number in signal.Signals}
        how = f"signal {-code}{names.get(-code, '')}" if code < 0 else f"exit code {code}"
        super().__init__(f"the worker process ended with {how}")
        self.killed = -code in (signal.SIGKILL, signal.SIGTERM)


class Process:
    """A process of `running.worker` in a session of its own, and its child that works on the current request.

    Their output goes into a log, up to a limit.
    """

    def __init__(self, settings: Settings) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        command = [
            sys.executable,
            "-P",
            "-c",
            START,
            str(theirs.fileno()),
        ]  # -P: not the current folder
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**ALLOCATOR, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        theirs.close()
        self.log = Path(settings.directory, "logs", f"{self.process.pid}.log")
        self._tail, self._child, self._killed = b"", 0, False
        self._drain = threading.Thread(target=self._keep_output, args=(self.process.stdout,), daemon=True)
        self._drain.start()
        self.ask(settings)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

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
            raise Died(self.process.wait()) from error
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
        """The last lines of output."""
        return self._tail.decode(errors="replace")

    def kill(self) -> None:
        """Ends the process and all that it started; once, as other processes may get their numbers afterwards."""
        if self._killed:
            return
        self._killed = True
        for group in filter(None, (self._child, self.process.pid)):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self.process.wait()
        self.channel.end.close()
        self._drain.join(timeout=1)

    def _keep_output(self, pipe: IO[bytes]) -> None:
        written = 0
        with pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._tail = (self._tail + piece)[-TAIL:]
                with suppress(DiskFault):  # without room for a log, the work goes on
                    append(self.log, piece[: max(0, LOGGED - written)])
                written += len(piece)
