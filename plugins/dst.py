"""Dynamic sparse training with trainable thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl
from lth_bench_plugins.parametrisations.penalties import Coefficient, train

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class DST:
    """Train a threshold for every output of a layer together with the weights, of which those above it are kept.

    Liu et al. 2020, arXiv:2005.06870, section 3: the mask is a step of |w| - t with the paper's long-tailed derivative,
    and the loss has `coefficient` times the sum of exp(-t) added; thresholds start at zero, and start again where a
    layer has hardly any weight left. What the method itself came to is in the notes of the record as `native_sparsity`.

    Deviations: the paper has the sparsity that comes out; here the highest |w| - t of all layers together are kept,
    exactly as many as asked for, in evaluations during training too. Choose a coefficient that comes close to that.
    """

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
