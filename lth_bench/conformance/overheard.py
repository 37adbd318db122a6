"""What a pruner prints while it is checked: the end of it is kept, for the sentence on a failure."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

KEPT = 300  # characters


class Tail(io.TextIOBase):
    """A file that keeps the end of what is written; rich, which draws the progress of the check, writes past it."""

    def __init__(self) -> None:
        self.text = ""
        self.rich_proxied_file = getattr(sys.stdout, "rich_proxied_file", sys.stdout)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text = (self.text + text[-KEPT:])[-KEPT:]
        return len(text)


@contextmanager
def overheard() -> Iterator[Tail]:
    """Inside, what Python code prints goes into the tail."""
    tail = Tail()
    with redirect_stdout(tail), redirect_stderr(tail):
        yield tail
