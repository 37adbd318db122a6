"""What layers see of calibration examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


def input_norms(session: Session, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """By layer, the L2 norm of what each weight is multiplied with, over examples and positions; shaped as the weight.

    Zero padding counts. Inputs are those of the network in evaluation mode, under the masks in force, and one layer's
    are in memory at a time.
    """
    import torch

    with session.scoring(), torch.no_grad(), _summing_squares(session) as squares:
        for batch in batches:
            session.logits(batch.inputs)
    return {
        name: squares[name].sqrt() if name in squares else w.new_zeros(w.shape) for name, w in session.weights.items()
    }


@contextmanager
def _summing_squares(session: Session) -> Iterator[dict[str, Tensor]]:
    """Inside, passes add the squares of what each weight is multiplied with to the yielded tensors, by layer."""
    owners = {id(weight): name for name, weight in session.weights.items()}
    squares: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for layer in session.model.modules():
            name = owners.get(id(layer._parameters.get("weight")))
            if name is not None:
                stack.callback(layer.register_forward_pre_hook(partial(_add, squares, name)).remove)
        yield squares


def _add(squares: dict[str, Tensor], name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Adds up squares of inputs by weight.

    The layer is linear in its weight, so the gradient of the sum of its outputs for squared inputs is what it sums.
    """
    import torch

    with torch.enable_grad():
        outputs = layer.forward(inputs[0].detach().square())
        (found,) = torch.autograd.grad(outputs.sum(), cast("Tensor", layer.weight))
    squares[name] = squares[name] + found if name in squares else found
