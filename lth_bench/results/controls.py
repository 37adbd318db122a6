"""What installed controls and pruners say of themselves."""

from __future__ import annotations

from functools import cache

from lth_bench.experiments.plugins import Plugins, load_plugins


def question(control: str) -> str:
    """What a control asks of a method, in a sentence; a general one if it does not say, or is not installed."""
    usual = f"Is it better than its control {control}?"
    return str(getattr(_installed().controls.items.get(control), "question", usual))


@cache
def rivals() -> tuple[str, ...]:
    """The names of the controls that a winning ticket has to beat."""
    return tuple(name for name, control in _installed().controls.items.items() if getattr(control, "is_rival", False))


def named_rivals() -> str:
    """The rivals in words, to stand behind "the control"."""
    return " or ".join(rivals()) or "that it has to beat"


def has_own_loss(pruner: str) -> bool:
    """Whether a pruner says that it trains with a loss of its own, which its controls do without."""
    return bool(getattr(_installed().pruners.items.get(pruner), "own_loss", False))


@cache
def _installed() -> Plugins:
    return load_plugins()
