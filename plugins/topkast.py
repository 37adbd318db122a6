"""Top-KAST: passes read the largest weights, and the next largest are trained with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from lth_bench import Duration, Paper, hookimpl
from lth_bench.methods.sparse_training import Distribution, interval_steps, layer_sparsities
from lth_bench.pruning.allocation import kept_count
from lth_bench_plugins.parametrisations.penalties import Coefficient, exempt

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class TopKAST:
    """Compute with the largest weights of every layer, and train these and the next largest.

    Jayakumar et al. 2020, arXiv:2106.03517, section 2. Of a layer's weights, passes read the share D of largest
    magnitude. These and the next largest, M = `exploration` · D of the layer, get gradients, through the network of the
    former; all others keep their values. An L2 penalty pulls the former by `penalty` · w and the latter by
    `penalty` · w / D, in place of the recipe's weight decay. Both sets are chosen anew every `interval`, which the
    paper found to work as well as every step. `exploration` 1 is the paper's backward sparsity of 80 % at a target of
    90 %, or 90 % at 95 %; its 50 % at 80 % is 1.5.

    Deviations:
    - The density of every layer is that of `distribution`; no layer is dense unless that says so, and D is each
      layer's own.
    - Momentum of weights that leave the trained set is cleared, so that they rest (the paper does not say).
    - The sets change before a step, not after the very last one: what was trained last is what is left.
    """

    title = "Top-KAST"
    family = "dynamic"
    paper = Paper(
        "jayakumar2020topkast",
        "Top-KAST: Top-K Always Sparse Training",
        "Siddhant M. Jayakumar and Razvan Pascanu and Jack W. Rae and Simon Osindero and Erich Elsen",
        "NeurIPS",
        2020,
        arxiv="2106.03517",
    )

    distribution: Distribution = "uniform"
    exploration: Annotated[float, Ge(0)] = 1.0
    penalty: Coefficient = 1e-4
    interval: Duration = Duration("100it")

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.selection import settle

        every, sparsities = interval_steps(session, self.interval), self.sparsities(session)
        layers = self.parametrize(session, sparsities)
        for batch in session.batches():
            if session.step % every == 0:
                choose(session, layers)
            session.loss(batch).backward()
            session.update()
        settle(session, lambda: {name: layer.active.float() for name, layer in layers.items()}, sparsities)

    def sparsities(self, session: Session) -> dict[str, float]:
        """The sparsities of the layers. Raises Unsuitable for one that leaves a layer empty."""
        from lth_bench import Unsuitable

        sparsities = layer_sparsities(session, self.distribution, session.sparsity)
        for name, weight in session.weights.items():
            if not kept_count(sparsities[name], weight.numel()):
                raise Unsuitable(
                    f"at {session.sparsity:.6g} no weight of layer {name!r} is left to compute with; lower the target "
                    "or take another distribution"
                )
        return sparsities

    def parametrize(self, session: Session, sparsities: dict[str, float]) -> dict[str, nn.Module]:
        """Computes with the largest weights of the layers, whose penalty takes the place of weight decay."""
        from lth_bench_plugins.parametrisations.exploring import Exploring

        def exploring(layer: str, weight: Tensor) -> Exploring:
            kept = kept_count(sparsities[layer], weight.numel())
            trained = min(weight.numel(), round((1 + self.exploration) * kept))
            return Exploring(weight, kept, trained, self.penalty)

        layers = session.parametrize(exploring)
        exempt(session, session.weights.values())
        return layers


def choose(session: Session, layers: dict[str, nn.Module]) -> None:
    """Chooses the weights anew that are active and trained; others rest."""
    from lth_bench.training.optimizers import clean

    for name, layer in layers.items():
        layer.choose(session.weights[name])
    if session.optimizer:
        clean(session.optimizer, {session.weights[name]: layer.trained for name, layer in layers.items()})


@hookimpl
def register_pruners(register):
    register("topkast", TopKAST)
