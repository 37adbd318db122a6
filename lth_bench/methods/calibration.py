"""What layers see of calibration examples, in a network that need not fit into memory twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.models.products import Product
    from lth_bench.training.session import Session


def input_norms(session: Session, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """By layer, the L2 norm of what each weight is multiplied with, over examples and positions; shaped as the weight.

    Zero padding counts. Inputs are those of the network in evaluation mode, under the masks in force. Raises Unsuitable
    where no product reads a weight.
    """
    sums = {name: Sums(weight, _squares) for name, weight in session.weights.items()}
    _watch(session, batches, lambda product: sums[product.name].add(product))
    _require_read(session, [name for name, found in sums.items() if found.sections])
    return {name: _spread(sums[name].by_group().sqrt(), weight) for name, weight in session.weights.items()}


def gram(session: Session, batches: Sequence[Batch], name: str, calls: Sequence[str]) -> Tensor:
    """Sums of x xᵀ over what a layer sees of examples, groups × columns × columns; `calls` are those of `layer_calls`.

    Columns are those of `weight.flatten(1)`; rows of a weight make groups, in their order, where they see other inputs.
    The passes end behind the layer.
    """
    sums = Sums(session.weights[name], lambda columns: columns @ columns.mT)
    behind = list(calls)[: len(calls) - list(reversed(calls)).index(name)].count(name)
    for batch in batches:
        left = [behind]

        def see(product: Product, left: list[int] = left) -> None:
            if product.name == name:
                sums.add(product)
                left[0] -= 1
                if not left[0]:
                    raise _Enough

        with suppress(_Enough):
            _watch(session, [batch], see)
    return sums.by_group()


def layer_calls(session: Session, batch: Batch) -> list[str]:
    """The layers in the order in which a pass multiplies by them. Raises Unsuitable where no product reads a weight."""
    from lth_bench.data.examples import Batch

    calls: list[str] = []
    _watch(session, [Batch(batch.inputs[:1], batch.labels[:1])], lambda product: calls.append(product.name))
    _require_read(session, calls)
    return calls


@dataclass
class Sums:
    """Sums of a statistic of what the rows of a weight see; rows that see the same make a section."""

    weight: Tensor
    statistic: Callable[[Tensor], Tensor]
    sections: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def add(self, product: Product) -> None:
        section = product.start, product.rows
        for columns in product.columns():
            found = self.statistic(columns)
            self.sections[section] = self.sections[section].add_(found) if section in self.sections else found

    def by_group(self) -> Tensor:
        """One statistic for each group of as many rows."""
        import torch

        if len(self.sections) == 1:
            return next(iter(self.sections.values()))
        rows = math.gcd(*(length // len(found) for (_, length), found in self.sections.items()))
        return torch.cat(
            [
                found.repeat_interleave(length // len(found) // rows, 0)
                for (_, length), found in sorted(self.sections.items(), key=lambda item: item[0])
            ]
        )


class _Enough(Exception):
    """Ends a pass behind the last product that matters."""


def _watch(session: Session, batches: Sequence[Batch], see: Callable[[Product], None]) -> None:
    """Passes batches through the network in evaluation mode; no copy of it is made, as `scoring()` would."""
    from lth_bench.models.products import ProductWatch

    with _evaluating(session), ProductWatch(session.weights, see):
        for batch in batches:
            session.account.passed(len(batch.inputs))
            session.model(batch.inputs)


@contextmanager
def _evaluating(session: Session) -> Iterator[None]:
    import torch

    from lth_bench.models.modes import mode, products_of_attention
    from lth_bench.randomness import kept_noise

    noise = kept_noise(next(session.model.parameters()).device)
    with noise, torch.no_grad(), mode(session.model, training=False), products_of_attention():
        session.clock.start_scoring_noise()
        yield


def _require_read(session: Session, read: Sequence[str]) -> None:
    from lth_bench.errors import Unsuitable

    if unread := [name for name in session.weights if name not in read]:
        raise Unsuitable(
            f"nothing is known of the inputs of {', '.join(map(repr, unread))}: no linear product or convolution of "
            "this network reads these weights in evaluation mode; keep them dense, or take a method without calibration"
        )


def _squares(columns: Tensor) -> Tensor:
    return columns.square().sum(-1)


def _spread(by_group: Tensor, weight: Tensor) -> Tensor:
    """One value for each group and column, as a tensor of the weight's shape."""
    groups = len(by_group)
    rows = by_group[:, None].expand(groups, len(weight) // groups, by_group.shape[-1])
    return rows.reshape(weight.shape)
