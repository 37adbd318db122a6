"""Supermask: learn which of the initial weights to keep, and leave their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Rate, chance, hookimpl
from lth_bench_plugins.papers import ZHOU_2019
from lth_bench_plugins.parametrisations.frozen import freeze

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session
    from lth_bench_plugins.parametrisations.coins import Coins


@dataclass(frozen=True)
class Supermask:
    """Train scores s alone: each initial weight is kept with probability sigmoid(s).

    Zhou et al. 2019, arXiv:1905.01067, section 5.2. The gradient passes straight through the draws. `weights`
    "signed_constant" have the sign of the initial weight and the standard deviation of its layer's weights. `rescaling`
    divides the kept weights by their share of the layer ("kept_share", the paper's dynamic weight rescaling) or by its
    root, which preserves the variance of outputs and trains at high sparsities too. `initial_share` is the probability
    at the start, by which the paper steers the sparsity; "target" is the share to be kept in the end. Scores need large
    learning rates: the paper's is 100.

    `choice` "highest" keeps the weights of the highest scores of all layers together, exactly as many as the target
    asks for, also in evaluations during training; "drawn" keeps those of the highest sums of score and one fixed draw
    of logistic noise, which is a draw of the mask with scores shifted to meet the target. The share of weights that the
    method itself prunes on average is noted as `native_sparsity`.

    Deviations:
    - The mask is fixed in evaluation and meets the target (the paper draws masks in evaluation too, and the sparsity is
      whatever training reaches).
    """

    title = "supermask"
    family = "re-parametrised"
    paper = ZHOU_2019

    initial_share: Rate | Literal["target"] = 0.5
    weights: Literal["own", "signed_constant"] = "signed_constant"
    rescaling: Literal["none", "kept_share", "root_of_kept_share"] = "kept_share"
    choice: Literal["highest", "drawn"] = "highest"

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.coins import Coins
        from lth_bench_plugins.parametrisations.selection import Selection, settle

        if self.weights == "signed_constant":
            make_constant(session)
        freeze(session)
        start, noise = self.start(session), self.noise(session)

        def coin(layer: str, weight: Tensor) -> Coins:
            return Coins(layer, weight.new_full(weight.shape, start), selection, self.rescaling)

        def gates() -> dict[str, Tensor]:
            return {layer: coin.scores + noise[layer] for layer, coin in coins.items()}

        selection = Selection(gates, session.sparsity)
        coins = session.parametrize(coin)
        session.train()
        session.note("native_sparsity", 1 - kept_share(coins))
        settle(session, gates, session.sparsity)

    def start(self, session: Session) -> float:
        """The score at the start; for a probability of at most 0.99."""
        share = min(1 - session.sparsity, 0.99) if self.initial_share == "target" else self.initial_share
        return math.log(share / (1 - share))

    def noise(self, session: Session) -> dict[str, Tensor]:
        if self.choice == "highest":
            return {layer: weight.new_zeros(()) for layer, weight in session.weights.items()}
        return {layer: draws.logit(eps=1e-6) for layer, draws in chance(session).items()}


def make_constant(session: Session) -> None:
    """Sets the magnitude of all weights of a layer to their standard deviation, and leaves their signs."""
    for weight in session.weights.values():
        weight.data.copy_(weight.data.sign() * weight.data.std(correction=0))


def kept_share(coins: dict[str, Coins]) -> float:
    """The expected share of kept weights."""
    expected = sum(float(coin.scores.detach().sigmoid().sum()) for coin in coins.values())
    return expected / sum(coin.scores.numel() for coin in coins.values())


@hookimpl
def register_pruners(register):
    register("supermask", Supermask)
