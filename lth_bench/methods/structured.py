"""What structured methods share: scores of channels by batch norm or by filters, and the penalty on scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

from annotated_types import Ge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from lth_bench.training.clock import Until
    from lth_bench.training.session import Session

Penalty = Annotated[float, Ge(0)]
"""The factor of a penalty in the loss."""

Layers = Literal["convolutions", "all"]
"""Whether to prune channels of convolutions alone, or the neurons of hidden linear layers too."""

Branches = Literal["inner", "all"]
"""Whether to prune inner channels alone, or also those that are added to others, as of a residual branch."""


def scales(session: Session) -> dict[str, Tensor]:
    """By layer, the absolute scale of each channel in the batch norm that follows. Raises Unsuitable without any."""
    from lth_bench.errors import Unsuitable

    scores = {name: scale.detach().abs() for name, scale in _scales(session).items()}
    if not scores:
        raise Unsuitable(
            "channels are to be ranked by the scales of batch norm, but no prunable layer of this network has a batch "
            "norm right behind it; take the pruner l1_filter, or a network with batch norm behind its convolutions"
        )
    return scores


def filter_layers(session: Session, layers: Layers, branches: Branches) -> list[str]:
    """The layers whose filters, or neurons, may be removed; never the output layer. Raises Unsuitable without any."""
    from lth_bench.errors import Unsuitable
    from lth_bench.pruning.channels import inner, structure

    names = [name for name, weight in session.weights.items() if layers == "all" or weight.ndim > 2]
    names = [name for name in names if name != session.output_layer]
    if not names:
        raise Unsuitable('no convolution of this network may be pruned; set layers to "all" to prune neurons as well')
    if branches == "inner":
        names = inner(structure(session.model, session.weights, session.input_shape), names)
    if not names:
        raise Unsuitable(
            "every channel that could be removed is added to others, so that nothing is saved behind it; set branches "
            'to "all" to remove it all the same, or layers to "all" to prune neurons of linear layers as well'
        )
    return names


def filter_norms(session: Session, names: Iterable[str]) -> dict[str, Tensor]:
    """By layer, the sum of the absolute weights of each filter or neuron."""
    return {name: session.weights[name].detach().abs().flatten(1).sum(1) for name in names}


def ranks(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rank of each channel in its layer, as a share, by which all layers lose the same share of channels."""
    return {name: (score.argsort(stable=True).argsort() + 1) / len(score) for name, score in scores.items()}


def require_reachable(session: Session, scores: Mapping[str, Tensor]) -> None:
    """Raises Unsuitable where removing channels of these layers cannot reach the target."""
    from lth_bench.errors import MaskError, Unsuitable

    try:
        session.channel_masks(scores)
    except MaskError as error:
        raise Unsuitable(str(error)) from error


def train_with_penalty(session: Session, penalty: float, until: Until = None) -> None:
    """Trains with a penalty in the loss on the absolute scales of the batch norms that follow layers."""
    if not penalty:
        session.train(until)
        return
    penalised = list(_scales(session).values())
    for batch in session.batches(until):
        (session.loss(batch) + penalty * sum(scale.abs().sum() for scale in penalised)).backward()
        session.update()


def _scales(session: Session) -> dict[str, Tensor]:
    return {name: cast("Tensor", norm.weight) for name, norm in session.norms.items()}
