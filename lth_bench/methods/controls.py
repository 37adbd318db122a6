"""What controls share: how they start from a ticket, and checks that they changed what they claim to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from lth_bench.pruning.masks import Masks
    from lth_bench.pruning.tickets import Ticket
    from lth_bench.training.session import Session

NEAR = 0.1  # weights that differ by a smaller share are the same: training twice may differ in the last bits


@dataclass(frozen=True)
class Base:
    """What a control starts from: the pruner of the experiment that is the same without it, and its ticket."""

    pruner: Callable[[Session], None]
    ticket: Ticket


def check_ticket(ticket: Ticket) -> None:
    """Raises Unsuitable unless some layer of the ticket is pruned in part: a control could change nothing."""
    from lth_bench.errors import Unsuitable

    if all(bool(mask.all()) for mask in ticket.masks.values()):
        raise Unsuitable("the ticket prunes nothing, so a control has nothing to change; ask for a sparsity above 0")
    if all(bool(mask.all()) or not bool(mask.any()) for mask in ticket.masks.values()):
        raise Unsuitable(
            "the ticket keeps every layer whole or not at all, so a control has nothing to change; ask for another "
            "sparsity, or for sparsities by layer"
        )


def check_moved(masks: Masks, ticket: Ticket, why: str) -> None:
    """Raises Unsuitable if these masks equal the ticket's; `why` says how that can be and what to do instead."""
    from lth_bench.errors import Unsuitable

    if all(bool((mask == ticket.masks[name].to(mask.device)).all()) for name, mask in masks.items()):
        raise Unsuitable(f"the control left the masks of all {len(masks)} layers as they were: {why}")


def check_changed(session: Session, before: Mapping[str, Tensor], why: str) -> None:
    """Raises Unsuitable if no layer's kept weights differ from `before`; `why` says how that can be."""
    from lth_bench.errors import Unsuitable

    if not any(_distance(weight, before[name], session.masks[name]) > 1e-5 for name, weight in session.weights.items()):
        raise Unsuitable(f"the control left the kept weights of all {len(before)} layers as they were: {why}")


def scattered(session: Session, ticket: Ticket, purpose: str) -> tuple[Masks, Masks]:
    """Masks with as many weights in each layer as the ticket's at random places, and no channels.

    For a ticket with channels: the masks of as many random channels in each layer, and those channels. The draws come
    from a stream of this purpose, so that they depend neither on the ticket's masks nor on its pruner's draws.
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
    """Trains the dense network to the ticket's step. Raises Unsuitable unless it has the ticket's weights then."""
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
    """Puts the ticket's masks, state and step into force, except that `weights` replaces those of some layers."""
    from lth_bench.training.state import Snapshot

    session.adopt(ticket.masks, ticket.channels)
    session.rewind(Snapshot(ticket.step, {**ticket.start, **weights}, None))


def train_on(session: Session, ticket: Ticket) -> None:
    """Trains to the recipe's end; a fine-tuned ticket, which starts at that end, for the recipe's length once more."""
    if session.step < session.total_steps:
        session.train()
    elif not all(bool((ticket.start[name] == ticket.final[name]).all()) for name in ticket.masks):
        session.train(until=session.step + session.total_steps)


def _elsewhere(mask: Tensor, places: Generator) -> Tensor:
    """A mask of as many weights at random places."""
    import torch

    moved = torch.zeros(mask.numel(), dtype=torch.bool)
    moved[torch.randperm(mask.numel(), generator=places)[: int(mask.count_nonzero())]] = True
    return moved.view(mask.shape)


def _distance(one: Tensor, other: Tensor, mask: Tensor) -> float:
    """The norm of the difference of kept weights, as a share of the norm of the first."""
    kept = mask.to(one.device)
    weights, other_weights = one.detach()[kept], other.to(one.device)[kept]
    return float((weights - other_weights).norm() / weights.norm().clamp(min=1e-12))
