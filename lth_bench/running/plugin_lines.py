"""The line of a plugin in which an exception arose."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

BELOW = {"lth_bench", "torch", "torchvision", "timm", "numpy", *sys.stdlib_module_names}
"""Packages that plugins call: a line of theirs does not tell an author where to look."""


def plugin_line(error: BaseException) -> str | None:
    """The last line of a plugin in the traceback, such as "my_package/my_module.py:12"; None if there is none."""
    lines = [
        _line(name, frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if (name := str(frame.f_globals.get("__name__", ""))).partition(".")[0] not in BELOW
    ]
    return lines[-1] if lines else None


def _line(module: str, file: str, number: int) -> str:
    """A file from the folder of its package on, which is the same on every machine."""
    path = Path(file)
    parts = path.parts[-(module.count(".") + 1 + (path.stem == "__init__")) :]
    return f"{'/'.join(parts)}:{number}"
