"""Suggestions for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, names: Iterable[str]) -> str:
    """A question that offers the closest of the names, with a space behind it; "" if none is close."""
    close = get_close_matches(name, list(names), 1)
    return f"did you mean {close[0]!r}? " if close else ""


def known_names(name: str, names: Iterable[str]) -> str:
    """The names that exist, behind a suggestion."""
    existing = list(names)
    return f"{suggestion(name, existing)}known: {', '.join(existing) or 'none'}"
