"""Networks whose own parameters are not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lth_bench.training.session import Session


def freeze(session: Session) -> None:
    """Freezes all parameters. Raises Unsuitable for a layer whose weights are all zero: its output would stay zero."""
    from lth_bench import Unsuitable

    for layer, weight in session.weights.items():
        if not weight.count_nonzero():
            raise Unsuitable(
                f"all initial weights of layer {layer!r} are zero, and this method trains none; initialise the network "
                "in another way, by the recipe or the model's arguments"
            )
    session.model.requires_grad_(False)
