"""JSON objects between processes, one a line; whatever else comes through is passed over."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of a connection. A message that its sender did not finish harms none of those after it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._held = b""
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        with self._sending:
            self.end.sendall(f"\n{json.dumps(message, allow_nan=False)}\n".encode())

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message, or None if none comes in `timeout` seconds; raises EOFError when the other end has gone."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            while b"\n" in self._held:
                line, _, self._held = self._held.partition(b"\n")
                if (message := _parsed(line)) is not None:
                    return message
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self.end], [], [], left)[0]:
                return None
            piece = self.end.recv(1 << 16)
            if not piece:
                raise EOFError
            self._held += piece


def _parsed(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
