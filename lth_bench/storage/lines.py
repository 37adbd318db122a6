"""Single JSON values, such as a line of a journal or a message; readers skip those that are incomplete or foreign."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def parsed(line: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The value of a line; None for a line that is cut off or that the decoder does not accept."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
