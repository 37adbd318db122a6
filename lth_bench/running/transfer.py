"""Tickets that are trained on other data than they were found on: whether they fit, and how to make them fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lth_bench.errors import Unsuitable
from lth_bench.models.layer_roles import output_layer
from lth_bench.pruning.allocation import kept_count
from lth_bench.pruning.masks import kept
from lth_bench.pruning.tickets import Ticket
from lth_bench.randomness import generator
from lth_bench.storage.tensors import State
from lth_bench.training.session import Session

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Experiment
    from lth_bench.running.context import Context


def fitted(ticket: Ticket, session: Session) -> Ticket:
    """Fits a ticket from other data to the network of a Session that has not begun. Raises Unsuitable.

    For another number of classes, the output layer is the Session's own, with its initial weights. Its mask is random
    and keeps as many weights as the target leaves for it; for a ticket of channels, it keeps the same inputs as before.
    """
    mine = session.snapshot().state
    if fault := misfit(mine, ticket.start, session.output_layer):
        shape = "×".join(map(str, session.input_shape))
        raise Unsuitable(f"{fault}; find it on images of {shape}, or use a model that takes images of any shape")
    if ticket.step >= session.total_steps:
        raise Unsuitable(
            f"the ticket's weights are those of step {ticket.step}, but here training ends at {session.total_steps}; "
            f"let its pruner go back to early weights, or use a longer recipe"
        )
    output = session.output_layer
    if ticket.start[output].shape == mine[output].shape:
        return ticket
    own = {name: value for name, value in mine.items() if _belongs(name, output)}
    masks = {**ticket.masks, output: _output_mask(ticket, session)} if output in ticket.masks else ticket.masks
    return replace(ticket, start={**ticket.start, **own}, masks=masks, final={**ticket.final, **own})


def misfit(mine: State, theirs: State, output: str) -> str:
    """The first tensor of a ticket that does not fit a network, the output layer aside; "" if all fit."""
    shapes = [{name: "×".join(map(str, value.shape)) for name, value in state.items()} for state in (theirs, mine)]
    for name in {**theirs, **mine}:
        there, here = (shape.get(name, "missing") for shape in shapes)
        if there != here and not _belongs(name, output):
            return f"the ticket does not fit: {name!r} is {there} where it was found and {here} where it is trained"
    return ""


def origin_faults(experiment: Experiment, context: Context) -> Iterator[str]:
    """Why a ticket cannot be trained on other data, as far as the networks alone tell."""
    base = experiment.base
    if base is None or base.dataset == experiment.dataset:
        return
    here, there = context.network(experiment, 0), context.network(base, 0)
    if fault := misfit(here.state_dict(), there.state_dict(), output_layer(here)):
        name = experiment.model.name
        places = f"found on {base.dataset.name!r}, trained on {experiment.dataset.name!r}, {name!r}"
        yield f"controls: {places}: {fault}; use images of one shape, or a model that takes images of any shape"


def _belongs(name: str, output: str) -> bool:
    """Whether a tensor of the state belongs to the output layer."""
    return name.rpartition(".")[0] == output.rpartition(".")[0]


def _output_mask(ticket: Ticket, session: Session) -> Tensor:
    """A mask for the Session's output layer."""
    output = session.output_layer
    shape, before = session.shapes[output], ticket.masks[output]
    if ticket.channels:
        return before.any(0).expand(shape).clone()
    size, total = math.prod(shape), sum(map(math.prod, session.shapes.values()))
    others = sum(count for name, count in kept(ticket.masks).items() if name != output)
    count = kept_count(session.sparsity, total) - others
    if not 0 < count <= size:
        raise Unsuitable(
            f"the target leaves {count:,} weights to the output layer, which has {size:,} for the classes here and "
            f"kept {int(before.count_nonzero()):,} of {before.numel():,} where the ticket was found; keep it dense: "
            f"give the model keep = ['output']"
        )
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.randperm(size, generator=generator(session.seed, "output"))[:count]] = True
    return mask.view(shape)
