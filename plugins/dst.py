"""Dynamic sparse training with trainable thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench_plugins.parametrisations.penalties import Coefficient, train

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class DST:
    """Train a threshold for every output of a layer together with the weights, and keep the weights above it.

    Liu et al. 2020, arXiv:2005.06870, section 3: the mask is a step of |w| - t with the paper's long-tailed derivative,
    and `coefficient` times the sum of exp(-t) is added to the loss; thresholds start at zero, and start again in layers
    with hardly any weight above them. The sparsity that the method reaches by itself is noted as `native_sparsity`.
    Choose a coefficient that brings it close to the target.

    Deviations:
    - The weights of the highest |w| - t of all layers together are kept, exactly as many as the target asks for, also
      in evaluations during training (the paper keeps all weights above their threshold).
    """

    title = "DST"
    family = "re-parametrised"
    paper = Paper(
        "liu2020dynamic",
        "Dynamic Sparse Training: Find Efficient Sparse Network From Scratch With Trainable Masked Layers",
        "Junjie Liu and Zhe Xu and Runbin Shi and Ray C. C. Cheung and Hayden K. H. So",
        "ICLR",
        2020,
        arxiv="2005.06870",
        code="https://github.com/junjieliu2910/DynamicSparseTraining",
    )

    coefficient: Coefficient = 5e-6

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.selection import Selection, note_native_sparsity, settle
        from lth_bench_plugins.parametrisations.thresholded import Thresholded

        def gates() -> dict[str, Tensor]:
            return {layer: gate.excess(session.weights[layer]) for layer, gate in thresholded.items()}

        selection = Selection(gates, session.sparsity)
        thresholded = session.parametrize(lambda layer, weight: Thresholded(layer, weight, selection))
        train(session, lambda: self.coefficient * sum((-t.thresholds).exp().sum() for t in thresholded.values()))
        note_native_sparsity(session, gates(), 0.0)
        settle(session, gates, session.sparsity)


@hookimpl
def register_pruners(register):
    register("dst", DST)
