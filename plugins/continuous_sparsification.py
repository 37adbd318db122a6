"""Continuous sparsification: a ticket search with masks that harden while they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from lth_bench import Count, Duration, Paper, hookimpl
from lth_bench_plugins.parametrisations.penalties import Coefficient, exempt

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session
    from lth_bench_plugins.parametrisations.soft_masked import SoftMasked


@dataclass(frozen=True)
class ContinuousSparsification:
    """Train weights w · sigmoid(β · s) for a number of rounds, in each of which β rises, and go back to early w.

    Savarese et al. 2020, arXiv:1912.04427, and the defaults of the authors' code: s starts at `initial`, masks are
    divided by their initial value, and their sum times `coefficient` is added to the loss. In each round β rises
    exponentially from 1 to `temperature`; the next one goes on from the trained weights, with min(β · s, `initial`) for
    s. Then kept weights go back to their values of the first round's step `rewind_to`, and are trained from there;
    biases and norm layers stay as they are. s does not decay. The share of masks that are closed, the sparsity that the
    method reaches by itself, is noted as `native_sparsity`. Choose a start below zero for high sparsities.

    Deviations:
    - The weights of the highest s of all layers together are kept, exactly as many as the target asks for, also in
      evaluations during training (the paper keeps all of positive s).
    - β rises with every step (in the authors' code, with every epoch).
    - Training of the ticket starts from the kept weights, at the learning rate of `rewind_to` (the authors' code
      multiplies them by 1 / sigmoid(`initial`) throughout, and starts the schedule again).
    """

    title = "continuous sparsification"
    family = "re-parametrised"
    paper = Paper(
        "savarese2020winning",
        "Winning the Lottery with Continuous Sparsification",
        "Pedro Savarese and Hugo Silva and Michael Maire",
        "NeurIPS",
        2020,
        arxiv="1912.04427",
        code="https://github.com/lolemacs/continuous-sparsification",
    )

    initial: float = 0.0
    coefficient: Coefficient = 1e-8
    temperature: Annotated[float, Ge(1)] = 200.0
    rounds: Count = 2
    rewind_to: Duration = Duration("2.4%")

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.selection import Selection, note_native_sparsity, settle
        from lth_bench_plugins.parametrisations.soft_masked import SoftMasked

        def temperature() -> float:
            return float(self.temperature ** (session.step / max(1, session.total_steps)))

        def gates() -> dict[str, Tensor]:
            return {layer: masked.s for layer, masked in soft.items()}

        selection = Selection(gates, session.sparsity)
        soft = session.parametrize(lambda layer, w: SoftMasked(layer, w, selection, self.initial, temperature))
        exempt(session, gates().values())
        early = self.search(session, soft)
        note_native_sparsity(session, gates(), 0.0)
        settle(session, gates, session.sparsity)
        session.adopt(session.masks, weights={layer: early[layer] * mask for layer, mask in session.masks.items()})
        session.rewind_clock(session.steps(self.rewind_to))
        session.train()

    def search(self, session: Session, soft: dict[str, SoftMasked]) -> dict[str, Tensor]:
        """Trains weights and masks in rounds; returns the weights of the first round's step `rewind_to`."""
        self.train(session, soft, self.rewind_to)
        early = {layer: weight.detach().clone() for layer, weight in session.weights.items()}
        self.train(session, soft)
        for _ in range(self.rounds - 1):
            for masked in soft.values():
                masked.restart()
            session.rewind_clock(0)
            self.train(session, soft)
        return early

    def train(self, session: Session, soft: dict[str, SoftMasked], until: Duration | None = None) -> None:
        for batch in session.batches(until):
            entries = sum(masked.soft_mask().sum() for masked in soft.values())
            (session.loss(batch) + self.coefficient * entries).backward()
            session.update()


@hookimpl
def register_pruners(register):
    register("continuous_sparsification", ContinuousSparsification)
