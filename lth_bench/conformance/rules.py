"""The rules of the contract that are held against results: each gives a sentence on the first fault, or None."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lth_bench.conformance.trials import Run, Trial
from lth_bench.pruning import channels as channelling
from lth_bench.pruning.allocation import kept_count
from lth_bench.pruning.masks import Masks, full, kept
from lth_bench.training.session import Session

SAME = ("sparsity", "test", "curve", "events", "notes")  # fields of a record that the seed decides


def sparsity(trial: Trial) -> str | None:
    """The sparsity meets its target exactly; whole channels or ranks may leave fewer weights, by less than one more."""
    result = trial.record.sparsity
    assert result is not None
    target = kept_count(result.asked, result.prunable)
    if target in (result.mask, result.kept):
        return None
    asked = f"a sparsity of {result.asked} leaves {target} of {result.prunable} weights"
    if result.kept > target:
        return f"{asked}, here {result.kept} remain, {result.kept - target} too many"
    missing = target - result.kept
    if trial.session.elements:
        rank = max(_rank(shape) for shape in trial.session.shapes.values())
        return None if missing < rank else f"{asked}, here {result.kept} numbers remain, more than a rank too few"
    if not _is_structured(trial.session):
        return f"{asked}, the masks leave {result.mask}, and no channel or rank explains the difference"
    if any(missing < more for more in _gains(trial.session)):
        return None
    return f"{asked}, here {result.kept} remain, {missing} too few, more than any one channel that was removed has"


def pattern(trial: Trial) -> str | None:
    """Every layer that is not dense keeps exactly the pattern's share; that no group keeps more, each run checks."""
    held = trial.session.pattern
    assert held is not None
    for name, mask in trial.ticket.masks.items():
        share, count = mask.numel() * held.kept // held.of, int(mask.count_nonzero())
        if count not in (share, mask.numel()):
            return f"{held} keeps {share} of {mask.numel()} weights of {name!r}, here {count} remain"
    return None


def pruned(trial: Trial) -> str | None:
    """Pruned weights are zero at every tick, in the ticket and at the end."""
    if fault := trial.watcher.faults.get("pruned"):
        return fault
    ticket = trial.ticket
    for words, state in (("ticket", ticket.start), ("end", ticket.final)):
        for name, mask in ticket.masks.items():
            if count := int(state[name][~mask].count_nonzero()):
                return f"{count} pruned weights of {name!r} are not zero in the {words}"
    return None


def clock(trial: Trial) -> str | None:
    """The events record every tick and every example that passed with gradients; gradients lead to updates."""
    if fault := trial.watcher.faults.get("clock"):
        return fault
    events, watcher = trial.record.events or [], trial.watcher
    steps, examples = sum(event.steps for event in events), sum(event.examples for event in events)
    if steps != watcher.ticks:
        return f"{watcher.ticks} ticks were computed, the events hold {steps}"
    if watcher.idle_ticks:
        return (
            f"{watcher.idle_ticks} of {watcher.ticks} ticks with gradients and no update; call session.update() after "
            "backward(), or score outside ticks, inside session.scoring()"
        )
    if watcher.examples > examples:
        return (
            f"{watcher.examples} examples passed through the network with gradients, the events hold {examples}; "
            "use session.loss() and session.logits()"
        )
    return None


def same(first: Run, again: Run) -> str | None:
    """Both runs end in the same weights, masks and numbers."""
    if again.failure:
        return again.failure
    differing = [name for name in SAME if getattr(first.record, name) != getattr(again.record, name)]
    one, other = first.ticket, again.ticket
    tensors = {"masks": (one.masks, other.masks), "tickets": (one.start, other.start), "ends": (one.final, other.final)}
    differing += [name for name, pair in tensors.items() if not _equal(*pair)]
    return f"these differ: {', '.join(differing)}" if differing else None


def other(first: Run, second: Run) -> str | None:
    """Another seed ends in other weights and, if any weight is pruned, in other masks."""
    if second.failure:
        return second.failure
    one, another = first.ticket, second.ticket
    if _equal(one.final, another.final):
        return "seeds 0 and 1 end in the same weights"
    if all(bool(mask.all()) for mask in one.masks.values()) or not _equal(one.masks, another.masks):
        return None
    if emptied := [name for name, count in kept(one.masks).items() if not count]:
        return (
            f"seeds 0 and 1 end in the same masks, which leave no weight of {', '.join(map(repr, emptied))}; "
            "bring the scores of all layers to one scale, or prune every layer to a sparsity of its own"
        )
    return "seeds 0 and 1 end in the same masks; draw from session.rng"


def _equal(one: dict[str, Tensor], another: dict[str, Tensor]) -> bool:
    return one.keys() == another.keys() and all(torch.equal(one[name], another[name]) for name in one)


def _rank(shape: tuple[int, ...]) -> int:
    """The numbers that one more rank of a factorised weight takes."""
    return shape[0] + torch.Size(shape[1:]).numel()


def _is_structured(session: Session) -> bool:
    """Whether channels were removed, or every mask consists of whole rows and columns."""
    return bool(session.channels) or all(_is_outer(mask) for mask in session.masks.values())


def _is_outer(mask: Tensor) -> bool:
    rows, columns = mask.flatten(1).any(1), mask.transpose(0, 1).flatten(1).any(1)
    outer = rows[:, None] & columns[None]
    return torch.equal(mask, outer.view(*outer.shape, *(1 for _ in mask.shape[2:])).expand_as(mask))


def _gains(session: Session) -> Iterator[int]:
    """For each removed channel, the weights that the network would have more with it."""
    channels = session.channels or {name: mask.flatten(1).any(1) for name, mask in session.masks.items()}
    whole = channelling.structure(session.model, session.weights, session.input_shape)

    def remaining(channels: Masks) -> int:
        return sum(kept(channelling.thin(whole, full(session.weights), channels)).values())

    without = remaining(channels)
    for name, channel in channels.items():
        for place in (~channel).nonzero().flatten().tolist():
            restored = channel.clone()
            restored[place] = True
            yield remaining({**channels, name: restored}) - without
