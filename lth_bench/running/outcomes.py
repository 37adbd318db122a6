"""What a pruner leaves behind, on its way from the process that trained to the one that evaluates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lth_bench.experiments.experiment import without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.pruning.masks import Masks
from lth_bench.storage.files import publish
from lth_bench.storage.tensors import State, pack, part, read_tensors, serialized, unpack
from lth_bench.training.monitor import Best, Measurement
from lth_bench.training.session import Session

CURVE = ("step", "kept", "training_loss", "validation_loss", "validation_accuracy")
BESTS = ("best_validation", "early_stop")


class InvalidResult(Exception):
    """What a pruner left behind is not a network of the dense architecture under its masks, and how it came about."""


@dataclass(frozen=True)
class Outcome:
    """States by name: "start" (when the final mask took force), "last" and, if measured, those of BESTS; the masks.

    `channels` are those kept, by layer, where a method removed any. `facts` is what goes through JSON: steps, curve,
    events, notes, and of how many numbers weights were computed that the pruner left computed.
    """

    states: dict[str, State]
    masks: Masks
    channels: Masks
    facts: dict[str, Any]


def outcome(session: Session) -> Outcome:
    """The outcome of a Session whose pruner has returned. Raises Diverged."""
    session.finish()
    assert session.course.ticket is not None
    monitor = session.course.monitor
    found = {"best_validation": monitor.accurate, "early_stop": monitor.early_stop}
    bests = {name: best for name, best in found.items() if best}
    last_measured = monitor.curve[-1].step if monitor.curve else None
    facts = {
        "step": session.step,
        "ticket": session.course.ticket.step,
        "bests": {name: _place(best, last_measured) for name, best in bests.items()},
        "curve": _curve(monitor.curve),
        "events": [without_defaults(event) for event in session.account.ledger.events],
        "notes": session.notes,
        "elements": session.elements,
    }
    states = {"start": session.course.ticket.state, "last": session.snapshot().state}
    return Outcome(
        {**states, **{name: best.state for name, best in bests.items()}}, session.masks, session.channels, facts
    )


def hand_over(path: Path, made: Outcome) -> dict[str, Any]:
    """Writes an outcome; returns what `take` needs, as JSON. Raises InvalidResult for facts that JSON cannot hold."""
    try:
        canonical(made.facts).encode()
    except (TypeError, ValueError) as error:
        raise InvalidResult(f"steps, curve, events or notes of the Session are not plain values: {error}") from error
    masks = {name: pack(mask) for name, mask in made.masks.items()}
    shapes = {name: list(mask.shape) for name, mask in made.masks.items()}
    states = {f"state/{name}": state for name, state in made.states.items()}
    parts = {**states, "mask": masks, "channel": made.channels}
    content = serialized({f"{prefix}/{name}": value for prefix, held in parts.items() for name, value in held.items()})
    publish(path, content)
    return {"sha256": sha256(content), "shapes": shapes, "facts": made.facts}


def take(path: Path, handed: dict[str, Any]) -> Outcome:
    """Reads an outcome; raises FileFault."""
    tensors = read_tensors(path, handed["sha256"])
    names = ["start", "last", *handed["facts"]["bests"]]
    masks = part(tensors, "mask/")
    return Outcome(
        {name: part(tensors, f"state/{name}/") for name in names},
        {name: unpack(masks[name], torch.Size(shape)) for name, shape in handed["shapes"].items()},
        part(tensors, "channel/"),
        handed["facts"],
    )


def _place(best: Best, last_measured: int | None) -> dict[str, Any]:
    step = best.measurement.step
    return {"step": step, "censored": step == last_measured}


def _curve(curve: list[Measurement]) -> dict[str, list[float | None]]:
    """The curve in columns, losses and accuracies to six digits."""
    points = [dataclasses.asdict(point) for point in curve]
    return {name: [_six_digits(point[name]) for point in points] for name in CURVE}


def _six_digits(value: float | None) -> float | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value
