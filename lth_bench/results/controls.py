"""What installed controls say of themselves."""

from __future__ import annotations

from functools import cache
from typing import Any

from lth_bench.experiments.plugins import load_plugins


def question(control: str) -> str:
    """What a control asks of a method, in a sentence; a general one if it does not say, or is not installed."""
    return str(getattr(_installed().get(control), "question", f"Is it better than its control {control}?"))


@cache
def rivals() -> tuple[str, ...]:
    """The names of the controls that a winning ticket has to beat."""
    return tuple(name for name, control in _installed().items() if getattr(control, "is_rival", False))


def named_rivals() -> str:
    """The rivals in words, to stand behind "the control"."""
    return " or ".join(rivals()) or "that it has to beat"


@cache
def _installed() -> dict[str, Any]:
    return dict(load_plugins().controls.items)
