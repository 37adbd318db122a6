"""Evaluates what a pruner left behind, apart from it: on the test split, in a dense network built anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lth_bench.data.examples import Source
from lth_bench.errors import Diverged
from lth_bench.experiments.experiment import Experiment
from lth_bench.pruning.masks import check_masks, full, kept
from lth_bench.pruning.tickets import Ticket, write_ticket
from lth_bench.running.context import Context
from lth_bench.running.metrics import answers, described, latency, on_paths
from lth_bench.running.outcomes import BESTS, InvalidResult, Outcome
from lth_bench.storage.records import ticket_path
from lth_bench.storage.tensors import State


def judge(experiment: Experiment, made: Outcome, directory: Path, context: Context) -> dict[str, Any]:
    """Counts, evaluates and writes the ticket; returns these fields of the record.

    Raises InvalidResult, Diverged and DiskFault.
    """
    network = context.network(experiment, 0)
    weights = context.prunable(experiment, network)
    _check(made, network, weights)
    test = context.test(experiment.dataset)
    results = _test(made, network, test, context)
    network.load_state_dict(made.states["last"])
    about, pace = described(network, weights, test.shape), latency(network, test.shape)
    joined = on_paths(network, weights, test.shape)
    ticket = Ticket(made.facts["ticket"], made.states["start"], made.masks, made.states["last"], made.channels)
    return {
        "sparsity": _sparsity(experiment, made, joined),
        "network": about,
        "test": results,
        "latency": pace,
        "data": {"training": context.read(experiment.dataset).digest, "test": test.digest()},
        "curve": made.facts["curve"],
        "events": made.facts["events"],
        **({"notes": made.facts["notes"]} if made.facts["notes"] else {}),
        "ticket": {"step": ticket.step, "sha256": write_ticket(ticket_path(directory, experiment.key), ticket)},
    }


def _check(made: Outcome, network: nn.Module, weights: Mapping[str, nn.Parameter]) -> None:
    """Refuses foreign parameters, masks that do not fit, and weights that are there although they are pruned."""
    wanted = network.state_dict()
    for name, state in made.states.items():
        if foreign := sorted(set(state) ^ set(wanted)):
            raise InvalidResult(f"the {name} weights and the dense network differ in {foreign[:5]}")
        for key, value in state.items():
            if (value.shape, value.dtype) != (wanted[key].shape, wanted[key].dtype):
                found = f"{value.dtype} {tuple(value.shape)}"
                raise InvalidResult(f"{key!r} of the {name} weights is {found}, not as in the dense network")
    try:
        check_masks(made.masks, {name: mask.cpu() for name, mask in full(weights).items()})
    except ValueError as error:
        raise InvalidResult(str(error)) from error
    for name, mask in made.masks.items():
        if outside := int(made.states["last"][name][~mask].count_nonzero()):
            raise InvalidResult(f"{outside} weights of layer {name!r} are not zero although they are pruned")
    most = sum(kept(made.masks).values())
    for best in (name for name in BESTS if name in made.states):
        if (left := sum(int(made.states[best][name].count_nonzero()) for name in weights)) > most:
            raise InvalidResult(f"the {best} weights have {left} non-zeros, more than the {most} of the masks")


def _sparsity(experiment: Experiment, made: Outcome, joined: dict[str, int] | None) -> dict[str, Any]:
    """What is left in the last state: non-zeros under the masks, or the numbers they are computed from if fewer.

    `joined` are the weights of each layer that lie on a path from input to output.
    """
    layers = {name: _layer(made, name) for name in made.masks}
    size, left = (sum(layer[field] for layer in layers.values()) for field in ("size", "kept"))
    if joined is not None:
        for name, layer in layers.items():
            layer["effective"] = min(layer["kept"], joined[name])
    effective = None if joined is None else 1 - sum(layer["effective"] for layer in layers.values()) / size
    return {
        "asked": experiment.sparsity,
        "measured": 1 - left / size,
        "effective": effective,
        "prunable": size,
        "kept": left,
        "mask": sum(kept(made.masks).values()),
        "layers": layers,
        "collapsed": [name for name, layer in layers.items() if not layer["kept"]],
    }


def _layer(made: Outcome, name: str) -> dict[str, int]:
    mask, left = made.masks[name], int(made.states["last"][name].count_nonzero())
    channels = {"channels": int(made.channels[name].count_nonzero())} if name in made.channels else {}
    least = min(left, made.facts["elements"].get(name, left))
    return {"size": mask.numel(), "mask": int(mask.count_nonzero()), "kept": least, **channels}


def _test(made: Outcome, network: nn.Module, test: Source, context: Context) -> dict[str, Any]:
    """What the states answer; one that is the same as another, as the best are at times, is not asked again."""
    facts = made.facts
    asked: list[tuple[State, dict[str, float]]] = []

    def measured(state: State) -> dict[str, float]:
        for other, found in asked:
            if all(torch.equal(value, other[name]) for name, value in state.items()):
                return found
        with torch.no_grad():
            network.load_state_dict(state)
        found = answers(network, test, context.watch.progress)
        if not math.isfinite(found["loss"]):
            raise Diverged(facts["step"], f"a test loss of {found['loss']}")
        asked.append((state, found))
        return found

    places = {name: facts["bests"].get(name) for name in BESTS}
    bests = {name: place and {**place, **measured(made.states[name])} for name, place in places.items()}
    return {"last": {"step": facts["step"], **measured(made.states["last"])}, **bests}
