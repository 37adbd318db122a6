"""Evaluates the outcome of a pruner in a process of its own: on the test split, in a new dense network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from msgspec import UNSET, convert, structs
from torch import nn

from lth_bench.data.examples import Source
from lth_bench.errors import Diverged
from lth_bench.experiments.experiment import Experiment
from lth_bench.experiments.patterns import parsed
from lth_bench.models.predictions import evaluate
from lth_bench.pruning.masks import check_masks, full, kept
from lth_bench.pruning.patterns import breach, dense_layers
from lth_bench.pruning.tickets import Ticket, write_ticket
from lth_bench.running.context import Context
from lth_bench.running.metrics import answered, described, latency, on_paths
from lth_bench.running.outcomes import BESTS, InvalidResult, Outcome
from lth_bench.storage.answers import Answers
from lth_bench.storage.record import (
    DataHashes,
    Evaluation,
    Identity,
    LayerSparsity,
    Point,
    Record,
    Sparsity,
    TicketReference,
    ended,
)
from lth_bench.storage.records import ticket_path
from lth_bench.storage.tensors import State

FLIPPED = 0.002  # of the images: baking computed weights may change the last bits of a weight, and so a few answers


def judge(identity: Identity, outcome: Outcome, directory: Path, context: Context) -> tuple[Record, float]:
    """Counts weights, evaluates, writes the ticket; returns the record without environment and timing, and the latency.

    Raises InvalidResult, Diverged and DiskFault.
    """
    experiment, facts = identity.experiment, outcome.facts
    network = context.network(experiment, 0)
    weights = context.prunable(experiment, network)
    _check(outcome, network, weights)
    notes = {**facts.notes, **_pattern_notes(experiment, outcome)}
    test = context.test(experiment.dataset)
    results = _test(outcome, network, context.seen(test, experiment), context)
    network.load_state_dict(outcome.states["last"])
    _check_rebuilt(outcome, network, context.examples(experiment)[1])
    about, pace = described(network, weights, test.shape), latency(network, test.shape)
    joined = on_paths(network, weights, test.shape)
    ticket = Ticket(facts.ticket, outcome.states["start"], outcome.masks, outcome.states["last"], outcome.channels)
    record = ended(
        identity,
        "done",
        sparsity=_sparsity(experiment, outcome, joined),
        network=about,
        test=results,
        data=DataHashes(context.read(experiment.dataset).digest, test.digest()),
        curve=facts.curve,
        prunings=facts.prunings,
        events=facts.events,
        notes=notes or None,
        ticket=TicketReference(ticket.step, write_ticket(ticket_path(directory, experiment.key), ticket)),
    )
    return record, pace


def _check(outcome: Outcome, network: nn.Module, weights: Mapping[str, nn.Parameter]) -> None:
    """Raises InvalidResult for foreign parameters, masks that do not fit, and pruned weights that are not zero."""
    dense = network.state_dict()
    for name, state in outcome.states.items():
        if foreign := sorted(set(state) ^ set(dense)):
            raise InvalidResult(f"the {name} weights and the dense network differ in {foreign[:5]}")
        for key, value in state.items():
            if (value.shape, value.dtype) != (dense[key].shape, dense[key].dtype):
                kind = f"{value.dtype} {tuple(value.shape)}"
                raise InvalidResult(f"{key!r} of the {name} weights is {kind}, unlike in the dense network")
    try:
        check_masks(outcome.masks, {name: mask.cpu() for name, mask in full(weights).items()})
    except ValueError as error:
        raise InvalidResult(str(error)) from error
    for name, mask in outcome.masks.items():
        if outside := int(outcome.states["last"][name][~mask].count_nonzero()):
            raise InvalidResult(f"{outside} pruned weights of layer {name!r} are not zero")
    most = sum(kept(outcome.masks).values())
    for best in (name for name in BESTS if name in outcome.states):
        if (nonzeros := sum(int(outcome.states[best][name].count_nonzero()) for name in weights)) > most:
            raise InvalidResult(f"the {best} weights have {nonzeros} non-zeros, more than the {most} of the masks")


def _pattern_notes(experiment: Experiment, outcome: Outcome) -> dict[str, Any]:
    """Which layers are dense under a pattern, and why. Raises InvalidResult for masks that do not hold it."""
    if not experiment.pattern:
        return {}
    pattern = parsed(experiment.pattern)
    if fault := breach(outcome.masks, pattern):
        raise InvalidResult(
            f"the pruner {experiment.pruner.name!r} was to hold {pattern}, but {fault}; prune by session.prune(), or "
            "refuse patterns by raising Unsuitable"
        )
    layers, reason = dense_layers(outcome.masks, pattern)
    own = outcome.facts.notes.get("off_target")
    return {"dense_layers": layers, "off_target": f"{own}; {reason}" if own else reason} if layers else {}


def _check_rebuilt(outcome: Outcome, network: nn.Module, validation: Source) -> None:
    """Raises InvalidResult if this network, built anew, is not the one that was measured at the end of training.

    One that was pruned or recalibrated after that is not compared.
    """
    facts, curve = outcome.facts, outcome.facts.curve
    if not facts.bests or curve.step[-1] != facts.step or facts.ticket == facts.step:
        return
    accuracy, trained = evaluate(network, validation)[1], curve.validation_accuracy[-1]
    if abs(accuracy - trained) * len(validation) > max(1, FLIPPED * len(validation)) + 0.5:
        raise InvalidResult(
            f"the network built anew from its weights and buffers gets {accuracy:.2%} of the validation images right, "
            f"the trained one {trained:.2%}: it computes with something that is not in its state dict; register that "
            "as a buffer"
        )


def _sparsity(experiment: Experiment, outcome: Outcome, joined: dict[str, int] | None) -> Sparsity:
    """Counts the weights of the last state: non-zeros under the masks, or the numbers they are computed from if fewer.

    `joined` counts the weights of each layer on a path from input to output.
    """
    layers = {name: _layer(outcome, name, joined) for name in outcome.masks}
    size, remaining = sum(layer.size for layer in layers.values()), sum(layer.kept for layer in layers.values())
    effective = [layer.effective for layer in layers.values() if layer.effective is not UNSET]
    return Sparsity(
        asked=experiment.sparsity,
        measured=1 - remaining / size,
        effective=None if joined is None else 1 - sum(effective) / size,
        prunable=size,
        kept=remaining,
        mask=sum(kept(outcome.masks).values()),
        layers=layers,
        collapsed=[name for name, layer in layers.items() if not layer.kept],
    )


def _layer(outcome: Outcome, name: str, joined: dict[str, int] | None) -> LayerSparsity:
    mask, nonzeros = outcome.masks[name], int(outcome.states["last"][name].count_nonzero())
    fewest = min(nonzeros, outcome.facts.elements.get(name, nonzeros))
    return LayerSparsity(
        size=mask.numel(),
        mask=int(mask.count_nonzero()),
        kept=fewest,
        effective=UNSET if joined is None else min(fewest, joined[name]),
        channels=int(outcome.channels[name].count_nonzero()) if name in outcome.channels else UNSET,
    )


def _test(outcome: Outcome, network: nn.Module, test: Source, context: Context) -> Evaluation:
    """Evaluates the states; equal ones, as the best often are, only once."""
    evaluated: list[tuple[State, Point, Answers]] = []

    def measured(name: str, step: int) -> tuple[Point, Answers]:
        state = outcome.states[name]
        for other, point, answers in evaluated:
            if all(torch.equal(value, other[name]) for name, value in state.items()):
                return structs.replace(point, step=step), answers
        with torch.no_grad():
            network.load_state_dict(state)
        numbers, answers = answered(network, test, context.watch.progress)
        point = convert({"step": step, **numbers}, Point)
        if not math.isfinite(point.loss):
            raise Diverged(outcome.facts.step, f"a test loss of {point.loss}")
        evaluated.append((state, point, answers))
        return point, answers

    def best(name: str) -> Point | None:
        if (place := outcome.facts.bests.get(name)) is None:
            return None
        return structs.replace(measured(name, place.step)[0], censored=place.censored)

    accurate, early = (best(name) for name in BESTS)
    last, answers = measured("last", outcome.facts.step)
    return Evaluation(last, accurate, early, answers)
