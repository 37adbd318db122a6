"""NTK-SAP: pruning that preserves the spectrum of the neural tangent kernel, without data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from lth_bench import Count, Paper, hookimpl
from lth_bench.pruning.allocation import sizes_of
from lth_bench_plugins.synflow import kept_counts

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session

    Draw = tuple[Tensor, dict[str, Tensor]]  # inputs, and a noise for every prunable weight


@dataclass(frozen=True)
class NTKSAP:
    """Round by round, keep the connections to which the neural tangent kernel of new weights is most sensitive; train.

    Wang et al. 2023, arXiv:2304.02840, algorithm 1: the score of a connection m is |d/dm of ‖f(m·w) - f(m·(w + εξ))‖²|
    with normal noise ξ and ε = `epsilon`, summed over `examples` normal random inputs and `draws` of initial weights w;
    on average, ‖…‖² / ε² is the trace of the kernel. After round r of `rounds`, a share (1 - sparsity)^(r / rounds) of
    the weights remains. No data is used, and the weights that are trained are none of those drawn. Batch norm has the
    statistics of the inputs under w. The defaults are those of the authors' commands for CIFAR-10.

    Deviations:
    - Weights are drawn as the network's initial weights are, biases too (in the authors' code as Kaiming normal, biases
      not at all).
    - Dropout is off (in the authors' code on while the statistics of batch norm are taken).
    - The last round meets the target exactly (in the authors' code it rounds up, as all rounds do).
    """

    title = "NTK-SAP"
    family = "before training"
    paper = Paper(
        "wang2023ntksap",
        "NTK-SAP: Improving neural network pruning by aligning training dynamics",
        "Yite Wang and Dawei Li and Ruoyu Sun",
        "ICLR",
        2023,
        arxiv="2304.02840",
        code="https://github.com/YiteWang/NTK-SAP",
    )

    rounds: Count = 20
    draws: Count = 5
    examples: Count = 100
    epsilon: Annotated[float, Gt(0)] = 0.01

    def __call__(self, session: Session) -> None:
        size = sum(sizes_of(session.shapes).values())
        for round, count in enumerate(kept_counts(session.sparsity, size, self.rounds)):
            session.prune(self.scores(session, self.drawn(session, round)), 1 - count / size)
        session.train()

    def scores(self, session: Session, draws: Iterable[Draw]) -> dict[str, Tensor]:
        """`draws` gives the network other weights, if any, whenever it is asked for the next."""
        with session.scoring():
            parts = [self.sensitivities(session, inputs, noise) for inputs, noise in draws]
            return {name: sum(part[name] for part in parts).abs() for name in session.weights}

    def drawn(self, session: Session, round: int) -> Iterator[Draw]:
        import torch

        device = next(session.model.parameters()).device
        for number in range(self.draws):
            session.redraw(2 + round * self.draws + number)  # a control trains the first that is drawn
            inputs, *noise = (
                torch.randn(shape, generator=session.rng).to(device)
                for shape in ((self.examples, *session.input_shape), *session.shapes.values())
            )
            yield inputs, dict(zip(session.shapes, noise, strict=True))

    def sensitivities(self, session: Session, inputs: Tensor, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """d/dm for the present weights. Works in them, so that passes cost what the kept ones do."""
        import torch

        from lth_bench.models.modes import fresh_statistics

        near = {name: weight.detach().clone() for name, weight in session.weights.items()}
        far = {name: near[name] + self.epsilon * noise[name] * mask for name, mask in session.masks.items()}
        with torch.no_grad():
            with fresh_statistics(session.model) as norms:
                if norms:
                    session.logits(inputs)
            start = session.logits(inputs)
        end = _outputs(session, far, inputs)
        change = 2 * (end.detach() - start)
        products = _products(session, end, change), _products(session, _outputs(session, near, inputs), -change)
        return {name: products[0][name] + products[1][name] for name in near}


def _outputs(session: Session, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    for name, weight in session.weights.items():
        weight.data.copy_(weights[name])
    return session.logits(inputs)


def _products(session: Session, outputs: Tensor, change: Tensor) -> dict[str, Tensor]:
    """Weights times gradients."""
    from torch.autograd import grad

    gradients = grad(outputs, list(session.weights.values()), change, materialize_grads=True)
    return {
        name: weight.detach() * gradient
        for (name, weight), gradient in zip(session.weights.items(), gradients, strict=True)
    }


@hookimpl
def register_pruners(register):
    register("ntk_sap", NTKSAP)
