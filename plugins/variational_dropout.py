"""Sparse variational dropout: learn how much noise each weight tolerates, and remove those that tolerate any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Duration, Paper, hookimpl
from lth_bench_plugins.parametrisations.penalties import Coefficient, exempt, ramp, train

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class VariationalDropout:
    """Train with Gaussian noise of variance α · w² on every weight w, and keep the weights of least α.

    Molchanov et al. 2017, arXiv:1701.05369: σ² = α · w² is trained too, and the divergence from a log-uniform prior is
    added to the loss, multiplied by `coefficient` and divided by the number of training examples; a coefficient of 1 is
    the variational bound. As in Gale et al. 2019, arXiv:1902.09574, this penalty sets in linearly from `begin` to `end`
    (the middle of their grid for ResNet-50), |log α| is held below 8 in training, and log σ² starts at `log_variance`.
    The share of weights with log α ≥ `threshold`, the sparsity that the method reaches by itself, is noted as
    `native_sparsity`. Choose a coefficient that brings it close to the target.

    Deviations:
    - Noise is drawn for weights, once a batch (the paper draws it for outputs, once an example).
    - The weights of least α in all layers together are kept, exactly as many as the target asks for, also in
      evaluations during training (the papers remove the weights above the threshold).
    - Weights decay as the recipe says; log σ² does not decay.
    """

    title = "variational dropout"
    family = "re-parametrised"
    paper = Paper(
        "molchanov2017variational",
        "Variational Dropout Sparsifies Deep Neural Networks",
        "Dmitry Molchanov and Arsenii Ashukha and Dmitry Vetrov",
        "ICML",
        2017,
        arxiv="1701.05369",
        code="https://github.com/senya-ashukha/variational-dropout-sparsifies-dnn",
    )

    coefficient: Coefficient = 1.0
    begin: Duration = Duration("16%")
    end: Duration = Duration("59%")
    log_variance: float = -10.0
    threshold: float = 3.0

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.noisy import Noisy, divergence
        from lth_bench_plugins.parametrisations.selection import Selection, note_native_sparsity, settle

        rising, examples = ramp(session, self.begin, self.end), session.steps("1ep") * session.recipe.batch_size

        def log_alphas() -> dict[str, Tensor]:
            return {layer: noise.log_alpha(session.weights[layer]) for layer, noise in noisy.items()}

        def gates() -> dict[str, Tensor]:
            return {layer: -log_alpha for layer, log_alpha in log_alphas().items()}

        def penalty() -> Tensor:
            scale = self.coefficient * rising.share(session.step) / examples
            return scale * sum(divergence(log_alpha) for log_alpha in log_alphas().values())

        selection = Selection(gates, session.sparsity)
        noisy = session.parametrize(lambda layer, weight: Noisy(layer, weight, selection, self.log_variance))
        exempt(session, [noise.log_variance for noise in noisy.values()])
        train(session, penalty)
        note_native_sparsity(session, gates(), -self.threshold)
        settle(session, gates, session.sparsity)


@hookimpl
def register_pruners(register):
    register("variational_dropout", VariationalDropout)
