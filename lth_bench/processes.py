"""A worker process as seen from the one that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from lth_bench.files import DiskFault, append

Message = dict[str, Any]
LOGGED = 1 << 20  # bytes of output that are kept of one process
TAIL = 8000


class Died(Exception):
    """The process ended before it answered."""


class Process:
    """A process of `lth_bench.worker` in a session of its own; what it prints goes into a log, up to a limit."""

    def __init__(self, role: str, settings: Message) -> None:
        ours, theirs = Pipe()
        self.connection: Connection = ours
        command = [sys.executable, "-m", "lth_bench.worker", role, str(theirs.fileno())]
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        theirs.close()
        self.log = Path(settings["directory"], "logs", f"{role}-{self.process.pid}.log")
        self._tail = b""
        self._drain = threading.Thread(target=self._keep_output, args=(self.process.stdout,), daemon=True)
        self._drain.start()
        self.ask(settings)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, request: Message) -> None:
        with suppress(OSError):  # a process that has died says so when it is listened to
            self.connection.send_bytes(json.dumps(request).encode())

    def answer(self, timeout: float) -> Message | None:
        """The next message, if one comes in time; raises Died."""
        try:
            if not self.connection.poll(timeout):
                return None
            return dict(json.loads(self.connection.recv_bytes()))
        except (EOFError, OSError) as error:
            code = self.process.wait()
            how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
            raise Died(f"the worker process ended with {how}") from error

    def where(self) -> str:
        """What Python was doing, and what was printed last."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(0.2)
        return self.printed()

    def printed(self) -> str:
        """The last lines of output."""
        return self._tail.decode(errors="replace")

    def kill(self) -> None:
        """Ends the process and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()
        self._drain.join(timeout=1)

    def _keep_output(self, pipe: IO[bytes]) -> None:
        kept = 0
        with pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._tail = (self._tail + piece)[-TAIL:]
                with suppress(DiskFault):  # a log is for people; without room for it, the work goes on
                    append(self.log, piece[: max(0, LOGGED - kept)])
                kept += len(piece)
