"""ProsPr: pruning by meta-gradients, which look at the first steps of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

from lth_bench import Count, Paper, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class ProsPr:
    """Keep the weights whose removal would change the loss after some steps of training most; then train from step 0.

    Alizadeh et al. 2022, arXiv:2202.08132, section 3: connections c of 1 multiply the initial weights, `steps` steps of
    SGD follow, at `learning_rate` and with `momentum`, on all parameters, and the score of a weight is |dL/dc| of the
    loss behind them. With `gradients` "full" it goes back through all steps; "first_order" takes the steps as constant,
    which leaves |last gradient × initial weight|. Batch norm uses batch statistics throughout.

    One batch of `examples` serves all steps and the last loss; with `new_batches`, each has one of its own. The
    defaults are those of the authors' command (their function by itself draws new batches, and their README calls it
    with a learning rate of 0.5 and a momentum of 0.9).

    Deviations:
    - Weights are pruned one by one, not as channels (ProsPr has both).
    - The target is met exactly (the authors' code rounds up).
    - The recipe's label smoothing is part of the loss.
    - The examples are not augmented (in the authors' code they are).

    As in the authors' code, the momentum after the first step is a constant, so that with a momentum the full gradient
    does not go back through the gradients of that step.
    """

    title = "ProsPr"
    family = "before training"
    paper = Paper(
        "alizadeh2022prospect",
        "Prospect Pruning: Finding Trainable Weights at Initialization using Meta-Gradients",
        "Milad Alizadeh and Shyam A. Tailor and Luisa M. Zintgraf and Joost van Amersfoort and Sebastian Farquhar and "
        "Nicholas Donald Lane and Yarin Gal",
        "ICLR",
        2022,
        arxiv="2202.08132",
        code="https://github.com/mil-ad/prospr",
    )

    steps: Count = 3
    learning_rate: Annotated[float, Gt(0)] = 0.1
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    gradients: Literal["full", "first_order"] = "full"
    examples: Count = 128
    new_batches: bool = False

    def __call__(self, session: Session) -> None:
        session.prune(self.scores(session, self.batches(session)))
        session.train()

    def batches(self, session: Session) -> list[Batch]:
        """A batch for each step, and one for the loss behind the last."""
        return [session.sample(self.examples, self.new_batches * number) for number in range(self.steps + 1)]

    def scores(self, session: Session, batches: list[Batch]) -> dict[str, Tensor]:
        return {name: gradient.abs() for name, gradient in self.meta_gradients(session, batches).items()}

    def meta_gradients(self, session: Session, batches: list[Batch]) -> dict[str, Tensor]:
        """dL/dc of the loss of the last batch, after a step on each of the others."""
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        # Only this backend of attention can be differentiated twice.
        with session.scoring(training=True), sdpa_kernel(SDPBackend.MATH):
            connections = {
                name: torch.ones_like(weight, requires_grad=True) for name, weight in session.weights.items()
            }
            trained = {name: value for name, value in session.model.named_parameters() if value.requires_grad}
            start = {name: value * connections.get(name, 1) for name, value in trained.items()}
            loss = _loss(session, self.stepped(session, start, batches[:-1]), batches[-1])
            return _gradients(loss, connections)

    def stepped(self, session: Session, parameters: dict[str, Tensor], batches: list[Batch]) -> dict[str, Tensor]:
        """The parameters after one step of SGD on each batch."""
        velocity: dict[str, Tensor] = {}
        for batch in batches:
            gradients = _gradients(_loss(session, parameters, batch), parameters, self.gradients == "full")
            if not self.momentum:
                velocity = gradients
            elif velocity:
                velocity = {name: self.momentum * velocity[name] + gradients[name] for name in gradients}
            else:
                velocity = {name: gradient.detach() for name, gradient in gradients.items()}
            parameters = {name: value - self.learning_rate * velocity[name] for name, value in parameters.items()}
        return parameters


def _loss(session: Session, parameters: dict[str, Tensor], batch: Batch) -> Tensor:
    """The training loss of a batch with these parameters in place of the network's."""
    from torch import nn
    from torch.func import functional_call

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = session.model

        def forward(self) -> Tensor:
            return session.loss(batch)

    return functional_call(Loss(), {f"model.{name}": value for name, value in parameters.items()}, ())


def _gradients(loss, parameters, create_graph=False):
    from torch.autograd import grad

    found = grad(loss, list(parameters.values()), create_graph=create_graph, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


@hookimpl
def register_pruners(register):
    register("prospr", ProsPr)
