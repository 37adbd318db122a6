"""GraSP: pruning that preserves gradient flow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt

from lth_bench import Count, Paper, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class GraSP:
    """Remove the weights whose removal would reduce the gradient flow least, at initialisation, then train.

    Wang et al. 2020, arXiv:2002.07376, equation 8: with the gradient g and the Hessian H of the loss of a batch with
    `per_class` examples of every class, the score of a weight θ is θ · Hg, and the highest scores are kept (the paper's
    score has the opposite sign, and the highest are removed). Logits are divided by `temperature`. `score` "absolute"
    keeps the largest |θ · Hg| instead (GraSP-abs: Frankle et al. 2021, arXiv:2009.08576). With `batch_statistics`,
    batch norm uses the statistics of the batch for scoring instead of the running ones.

    The batch, which is sorted by class, is cut into `parts`, and the gradients and products of their mean losses are
    summed. The defaults are those of the authors' code and scripts, which cuts the batch into 2, each with its own
    batch statistics; Synaptic-Flow scores whole batches with running statistics.

    Deviations:
    - Scores are not divided by their sum (the authors' code divides them, which changes no ranking).
    - The weights that were scored are trained (the authors' code draws linear layers anew for scoring).
    - The recipe's label smoothing is part of the loss.
    """

    title = "GraSP"
    family = "before training"
    paper = Paper(
        "wang2020picking",
        "Picking Winning Tickets Before Training by Preserving Gradient Flow",
        "Chaoqi Wang and Guodong Zhang and Roger Grosse",
        "ICLR",
        2020,
        arxiv="2002.07376",
        code="https://github.com/alecwangcq/GraSP",
    )

    revision = 2

    per_class: Count = 10
    temperature: Annotated[float, Gt(0)] = 200.0
    score: Literal["signed", "absolute"] = "signed"
    parts: Count = 2
    batch_statistics: bool = True

    def __call__(self, session: Session) -> None:
        session.prune(self.scores(session, self.cut(session.balanced_sample(self.per_class))))
        session.train()

    def cut(self, batch: Batch) -> list[Batch]:
        bounds = [len(batch.labels) * part // self.parts for part in range(self.parts + 1)]
        return [type(batch)(*(tensor[start:end] for tensor in batch)) for start, end in pairwise(bounds) if start < end]

    def scores(self, session: Session, batches: list[Batch]) -> dict[str, Tensor]:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        # Only this backend of attention can be differentiated twice.
        with session.scoring(training=self.batch_statistics), sdpa_kernel(SDPBackend.MATH):
            products = self.products(session, batches)
        scores = {name: (session.weights[name] * product).detach() for name, product in products.items()}
        return {name: score.abs() if self.score == "absolute" else score for name, score in scores.items()}

    def products(self, session: Session, batches: list[Batch]) -> dict[str, Tensor]:
        """Hg by layer; holds the graph of one part at a time."""
        weights = list(session.weights.values())
        totals = _summed([_gradients(self.loss(session, batch), weights) for batch in batches])
        products = []
        for batch in batches:
            gradients = _gradients(self.loss(session, batch), weights, create_graph=True)
            flow = sum((gradient * total).sum() for gradient, total in zip(gradients, totals, strict=True))
            products.append(_gradients(flow, weights))
        return dict(zip(session.weights, _summed(products), strict=True))

    def loss(self, session: Session, batch: Batch) -> Tensor:
        from torch.nn.functional import cross_entropy

        logits = session.logits(batch.inputs) / self.temperature
        return cross_entropy(logits, batch.labels, label_smoothing=session.recipe.label_smoothing)


def _gradients(value, weights, create_graph=False):
    from torch.autograd import grad

    return grad(value, weights, create_graph=create_graph, materialize_grads=True)


def _summed(parts):
    return [sum(tensors) for tensors in zip(*parts, strict=True)]


@hookimpl
def register_pruners(register):
    register("grasp", GraSP)
