"""The outcome of a pruner, on its way from the process that trained to the process that evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from lth_bench.experiments.experiment import without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.pruning.masks import Masks
from lth_bench.running.messages import Facts, Handed
from lth_bench.storage.files import publish
from lth_bench.storage.record import Curve, builtins
from lth_bench.storage.tensors import State, pack, part, read_tensors, serialized, unpack
from lth_bench.training.monitor import Best, Measurement
from lth_bench.training.session import Session

BESTS = ("best_validation", "early_stop")


class InvalidResult(Exception):
    """An outcome that is not a network of the dense architecture under its masks, with the facts of its training."""


@dataclass(frozen=True)
class Outcome:
    """States by name: "start" (when the final mask took force), "last" and, if measured, those of BESTS.

    `channels` are the kept channels by layer, where a method removed some.
    """

    states: dict[str, State]
    masks: Masks
    channels: Masks
    facts: Facts


def outcome(sessions: Sequence[Session]) -> Outcome:
    """The outcome of the finished Sessions of an experiment: its pruner's, and those of what followed the mask.

    Raises InvalidResult.
    """
    first, last = sessions[0], sessions[-1]
    assert first.course.ticket is not None
    monitor = last.course.monitor
    points = {"best_validation": monitor.accurate, "early_stop": monitor.early_stop}
    bests = {name: best for name, best in points.items() if best}
    states = {"start": first.course.ticket.state, "last": last.snapshot().state}
    states |= {name: best.state for name, best in bests.items()}
    return Outcome(states, last.masks, last.channels, _facts(sessions, bests))


def _facts(sessions: Sequence[Session], bests: dict[str, Best]) -> Facts:
    """The facts of an experiment. Raises InvalidResult if a plugin put in what JSON cannot hold."""
    first = sessions[0]
    assert first.course.ticket is not None
    curve = [point for session in sessions for point in session.course.monitor.curve]
    last_measured = curve[-1].step if curve else None
    facts = {
        "step": sessions[-1].step,
        "ticket": first.course.ticket.step,
        "bests": {name: _place(best, last_measured) for name, best in bests.items()},
        "curve": _curve(curve),
        "prunings": builtins(first.course.prunings),
        "events": [without_defaults(event) for session in sessions for event in session.account.ledger.events],
        "notes": first.notes,
        "elements": first.elements,
    }
    try:
        return msgspec.json.decode(canonical(facts).encode(), type=Facts)
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise InvalidResult(f"steps, curve, events or notes of the Session are not plain values: {error}") from error


def hand_over(path: Path, outcome: Outcome) -> Handed:
    """Writes an outcome to a file; returns what `take` needs to read it. Raises DiskFault."""
    masks = {name: pack(mask) for name, mask in outcome.masks.items()}
    shapes = {name: list(mask.shape) for name, mask in outcome.masks.items()}
    states = {f"state/{name}": state for name, state in outcome.states.items()}
    parts = {**states, "mask": masks, "channel": outcome.channels}
    content = serialized({f"{prefix}/{name}": value for prefix, held in parts.items() for name, value in held.items()})
    publish(path, content)
    return Handed(sha256(content), shapes, outcome.facts)


def take(path: Path, handed: Handed) -> Outcome:
    """Reads an outcome from its file. Raises FileFault."""
    tensors = read_tensors(path, handed.sha256)
    names = ["start", "last", *handed.facts.bests]
    masks = part(tensors, "mask/")
    return Outcome(
        {name: part(tensors, f"state/{name}/") for name in names},
        {name: unpack(masks[name], torch.Size(shape)) for name, shape in handed.shapes.items()},
        part(tensors, "channel/"),
        handed.facts,
    )


def _place(best: Best, last_measured: int | None) -> dict[str, Any]:
    step = best.measurement.step
    return {"step": step, "censored": step == last_measured}


def _curve(curve: list[Measurement]) -> dict[str, list[float | None]]:
    """The curve in columns."""
    points = [point.recorded for point in curve]
    return {name: [point[name] for point in points] for name in Curve.__struct_fields__}
