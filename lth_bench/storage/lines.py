"""Single JSON values, such as a line of a journal, that whoever reads them does without when they are not whole."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def parsed(line: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What a line holds; None for one that is cut off, or that the decoder does not accept."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
