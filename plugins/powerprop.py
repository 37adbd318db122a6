"""Powerpropagation: train roots of the weights, so that large weights grow and small ones stay small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from lth_bench import Paper, hookimpl, magnitude
from lth_bench.pruning.allocation import exact, sizes_of

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Powerprop:
    """Train θ, of which the weights are θ · |θ|^(α - 1), then keep the largest weights of every layer, and do no more.

    Schwarz et al. 2021, arXiv:2110.00296, sections 2 and 4.1: θ starts as the root of the initial weights, which are
    those of other methods, and its gradient is that of the weight times α · |θ|^(α - 1). As in the authors' notebook,
    every layer keeps the same share of its weights, and the output layer twice that share. Biases and norm layers are
    trained as they are. The notebook compares α from 1, which is magnitude pruning, to 5.

    Deviations:
    - The shares are such that the whole network meets its target (in the notebook, the hidden layers do).
    """

    title = "powerpropagation"
    family = "re-parametrised"
    paper = Paper(
        "schwarz2021powerpropagation",
        "Powerpropagation: A sparsity inducing weight reparameterisation",
        "Jonathan Schwarz and Siddhant Jayakumar and Razvan Pascanu and Peter Latham and Yee Whye Teh",
        "NeurIPS",
        2021,
        arxiv="2110.00296",
        code="https://github.com/google-deepmind/deepmind-research/tree/master/powerpropagation",
    )

    alpha: Annotated[float, Ge(1)] = 3.0

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.power import Power

        self.require_weights(session)
        session.parametrize(lambda layer, weight: Power(self.alpha))
        session.train()
        session.bake()
        session.prune(magnitude(session), sparsities(session, session.sparsity))

    def require_weights(self, session: Session) -> None:
        """Raises Unsuitable for a layer of zeros: with an `alpha` above 1, a weight of zero has no gradient."""
        from lth_bench import Unsuitable

        for layer, weight in session.weights.items():
            if self.alpha > 1 and not weight.count_nonzero():
                raise Unsuitable(
                    f"all initial weights of layer {layer!r} are zero, and powers of zero are not trained; initialise "
                    "the network in another way, by the recipe or the model's arguments"
                )


def sparsities(session: Session, sparsity: float) -> dict[str, float]:
    """Those of layers that all keep the same share, and an output layer that keeps twice that, or everything."""
    sizes, output = sizes_of(session.shapes), session.output_layer
    kept, doubled = (1 - sparsity) * sum(sizes.values()), sizes.get(output, 0)
    share = kept / (sum(sizes.values()) + doubled)
    if share > 0.5:
        share = (kept - doubled) / (sum(sizes.values()) - doubled)
    densities = {layer: min(1.0, 2 * share) if layer == output else share for layer in sizes}
    return exact(session.shapes, densities, sparsity)


@hookimpl
def register_pruners(register):
    register("powerprop", Powerprop)
