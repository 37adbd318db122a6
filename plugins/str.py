"""Soft threshold weight reparameterisation: learn how much sparsity each layer gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench_plugins.parametrisations.penalties import Coefficient, exempt, train

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class STR:
    """Train one threshold for every layer together with the weights, which are shrunk by it.

    Kusupati et al. 2020, arXiv:2002.03231, section 3: a weight is sign(w) · max(|w| - sigmoid(s), 0), and s, which
    starts at `initial`, is raised by its own decay (`st_decay` of the authors' code) and moved by its gradient. The
    sparsity that the method reaches by itself is noted as `native_sparsity`. Choose a decay that brings it close to the
    target; under Adam, which divides gradients by their size, choose the start.

    Deviations:
    - The weights of the highest |w| - sigmoid(s) of all layers together are kept, exactly as many as the target asks
      for, also in evaluations during training (the paper keeps all weights above their threshold).
    - A weight that is kept below its threshold has a magnitude of a millionth.
    - s starts at -10 and decays by 0.06, which suits some 1,000 steps (for ResNet-50, the authors start at -3,200, and
      decay s and weights by 2e-5: sigmoid(-3,200) and its derivative are zero in float32, and far more steps raise s).
    - Weights decay as the recipe says (the paper's one decay of weights and s is what steers its sparsity).
    """

    title = "STR"
    family = "re-parametrised"
    paper = Paper(
        "kusupati2020soft",
        "Soft Threshold Weight Reparameterization for Learnable Sparsity",
        "Aditya Kusupati and Vivek Ramanujan and Raghav Somani and Mitchell Wortsman and Prateek Jain and Sham Kakade "
        "and Ali Farhadi",
        "ICML",
        2020,
        arxiv="2002.03231",
        code="https://github.com/RAIVNLab/STR",
    )

    initial: float = -10.0
    decay: Coefficient = 0.06

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.selection import Selection, note_native_sparsity, settle
        from lth_bench_plugins.parametrisations.soft_thresholded import SoftThresholded

        def gates() -> dict[str, Tensor]:
            return {layer: gate.excess(session.weights[layer]) for layer, gate in thresholded.items()}

        selection = Selection(gates, session.sparsity)
        thresholded = session.parametrize(lambda layer, weight: SoftThresholded(layer, weight, selection, self.initial))
        exempt(session, [gate.s for gate in thresholded.values()])
        train(session, lambda: self.decay / 2 * sum(gate.s.square() for gate in thresholded.values()))
        note_native_sparsity(session, gates(), 0.0)
        settle(session, gates, session.sparsity)


@hookimpl
def register_pruners(register):
    register("str", STR)
