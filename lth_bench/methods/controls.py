"""What controls share: how they start from a ticket, and the proof that they changed what they claim to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench.pruning.tickets import Ticket

if TYPE_CHECKING:
    from lth_bench.training.session import Session

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from lth_bench.pruning.masks import Masks
    from lth_bench.pruning.tickets import Ticket
    from lth_bench.training.session import Session

NEAR = 0.1  # weights are the same if they differ by less than this share: training again may differ in the last bits


def check_ticket(ticket: Ticket) -> None:
    """Raises Unsuitable for a ticket without a layer that is pruned in part: there is nothing to compare it with."""
    from lth_bench.errors import Unsuitable

    if all(bool(mask.all()) for mask in ticket.masks.values()):
        raise Unsuitable("the ticket prunes nothing, so a control has nothing to change; ask for a sparsity above 0")
    if all(bool(mask.all()) or not bool(mask.any()) for mask in ticket.masks.values()):
        raise Unsuitable(
            "the ticket keeps every layer whole or not at all, so a control has nothing to change; ask for another "
            "sparsity, or for sparsities by layer"
        )


def check_moved(masks: Masks, ticket: Ticket, why: str) -> None:
    """Raises Unsuitable if these masks are the ticket's; `why` says how that can be, and what to do."""
    from lth_bench.errors import Unsuitable

    if all(bool((mask == ticket.masks[name].to(mask.device)).all()) for name, mask in masks.items()):
        raise Unsuitable(f"the control left the masks of all {len(masks)} layers as they were: {why}")


def check_changed(session: Session, before: Mapping[str, Tensor], why: str) -> None:
    """Raises Unsuitable if the kept weights of all layers are what they were; `why` says how that can be."""
    from lth_bench.errors import Unsuitable

    if not any(_distance(weight, before[name], session.masks[name]) > 1e-5 for name, weight in session.weights.items()):
        raise Unsuitable(f"the control left the kept weights of all {len(before)} layers as they were: {why}")


def scattered(session: Session, ticket: Ticket, purpose: str) -> tuple[Masks, Masks]:
    """Masks that keep as many weights in each layer at random places, or those of as many random channels; channels.

    They come from a stream for this purpose: they depend neither on the places that the ticket keeps nor on what its
    pruner drew.
    """
    from lth_bench.pruning.channels import structure, thin
    from lth_bench.randomness import generator

    places = generator(session.seed, purpose)
    if not ticket.channels:
        return {name: _elsewhere(mask, places) for name, mask in ticket.masks.items()}, {}
    device = next(iter(session.masks.values())).device
    channels = {name: _elsewhere(channel, places).to(device) for name, channel in ticket.channels.items()}
    whole = structure(session.model, session.weights, session.input_shape)
    return thin(whole, session.masks, channels), channels


def train_dense(session: Session, ticket: Ticket) -> None:
    """Trains the dense network up to the ticket's step. Raises Unsuitable if its weights are not the ticket's then."""
    from lth_bench.errors import Unsuitable

    if ticket.step <= session.total_steps:
        session.train(until=ticket.step)
    pairs = [(session.weights[name], ticket.start[name], mask) for name, mask in ticket.masks.items()]
    if session.step != ticket.step or any(_distance(*pair) > NEAR for pair in pairs):
        raise Unsuitable(
            f"the ticket starts at step {ticket.step} from weights that the dense network does not have then, so its "
            f"mask cannot be moved alone; take the control random_layerwise, or a pruner that goes back to weights"
        )


def start_from(session: Session, ticket: Ticket, weights: Mapping[str, Tensor]) -> None:
    """Puts the ticket's masks, weights and clock into force, with other weights in the layers named."""
    from lth_bench.training.state import Snapshot

    session.adopt(ticket.masks, ticket.channels)
    session.rewind(Snapshot(ticket.step, {**ticket.start, **weights}, None))


def train_on(session: Session, ticket: Ticket) -> None:
    """Trains to the recipe's end; from there on, for as long again if the ticket was trained too (fine-tuning)."""
    if session.step < session.total_steps:
        session.train()
    elif not all(bool((ticket.start[name] == ticket.final[name]).all()) for name in ticket.masks):
        session.train(until=session.step + session.total_steps)


def _elsewhere(kept: Tensor, places: Generator) -> Tensor:
    import torch

    found = torch.zeros(kept.numel(), dtype=torch.bool)
    found[torch.randperm(kept.numel(), generator=places)[: int(kept.count_nonzero())]] = True
    return found.view(kept.shape)


def _distance(one: Tensor, other: Tensor, kept: Tensor) -> float:
    """How far weights lie apart, as a share of their size; only those that are kept."""
    mask = kept.to(one.device)
    here, there = one.detach()[mask], other.to(one.device)[mask]
    return float((here - there).norm() / here.norm().clamp(min=1e-12))


@dataclass(frozen=True)
class Base:
    """What a control starts from: the pruner of the experiment that is the same without it, and the ticket it left."""

    pruner: Callable[[Session], None]
    ticket: Ticket
