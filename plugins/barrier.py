"""The analysis of error barriers: whether two trainings of a ticket end in one valley."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from lth_bench import Duration, Paper, Unsuitable, hookimpl
from lth_bench.methods.controls import start_from, train_on
from lth_bench.methods.interpolation import barrier, between

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas
    from lth_bench.storage.tensors import State
    from lth_bench.training.state import Snapshot

STABLE = 2.0  # points
STYLES = {"interpolated": {"linestyle": ":", "fillstyle": "none"}}
EXAMPLES = 1000  # for the loss
Points = Annotated[int, Ge(2)]


@dataclass(frozen=True)
class Barrier:
    """Test error and training loss on the line between two trainings of a ticket, on the data in two orders.

    The loss is that of 1,000 training examples. Both start from the ticket's weights and step, or with `rewind_to`
    from those of the dense network at that step, under the ticket's mask; augmentation and noise differ too. The
    barrier is the highest of `points` values from one end to the other, less the mean of both ends; below 2 points
    of error, a network is stable. Where batch norms keep running statistics, these are estimated anew at every
    point ("recomputed"), and interpolated like the weights ("interpolated").

    With `ends = "initialisations"` the second training starts from newly drawn weights under the same mask, at step 0;
    with "aligned" its hidden units are then permuted to match the first by weights (arXiv:2209.04836).
    """

    points: Points = 30
    rewind_to: Duration | None = None
    ends: Literal["orders", "initialisations", "aligned"] = "orders"

    title = "Barrier"
    question = "Do two trainings of one ticket end in one valley?"
    caption = (
        "Highest test error, in points, and training loss, in nats, on the line between two trainings, above the mean "
        "of both ends; below 2 points a network is stable; dotted and hollow: batch norm interpolated"
    )
    columns: ClassVar = {
        "batch_norm": "batch norm",
        "barrier": "barrier, points",
        "loss_barrier": "barrier of loss, nats",
        "end_error": "error of the ends, %",
    }
    paper = Paper(
        "frankle2020linear",
        "Linear Mode Connectivity and the Lottery Ticket Hypothesis",
        "Jonathan Frankle and Gintare Karolina Dziugaite and Daniel M. Roy and Michael Carbin",
        "ICML",
        2020,
        arxiv="1912.05671",
    )

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        one, other = self.trained(study, 0), self.trained(study, 1)
        if all(bool((one[name] == other[name]).all()) for name in study.ticket.masks):
            raise Unsuitable("the ticket's weights are not trained under its mask, so that two trainings are one")
        if self.ends == "aligned":
            other = aligned(study, other, one)
        for batch_norm in batch_norms(one):
            yield from ({"batch_norm": batch_norm, **row} for row in self.line(study, one, other, batch_norm))

    def trained(self, study: Study, order: int) -> State:
        """The end of one training."""
        session, ticket = study.session(order=order), study.ticket
        if order and self.ends != "orders":
            session.adopt(ticket.masks, ticket.channels)
            session.redraw()
            session.train()
        elif self.rewind_to is None:
            start_from(session, ticket, {})
            train_on(session, ticket)
        else:
            dense = study.session()
            dense.train(self.rewind_to)
            return rewound(study, dense.snapshot(), order)
        return session.snapshot().state

    def line(self, study: Study, one: State, other: State, batch_norm: str) -> Iterator[dict[str, float]]:
        """A row for every point of the line, and one with the barriers."""
        errors, losses, loss = [], [], training_loss(study)
        for state in states(study, one, other, self.points, batch_norm):
            errors.append(100 * study.test(state).error)
            losses.append(loss(state))
        for alpha, *measured in zip(np.linspace(0, 1, self.points).tolist(), errors, losses, strict=True):
            yield {"alpha": alpha, **dict(zip(("error", "loss"), measured, strict=True))}
        yield {
            "barrier": barrier(errors), "loss_barrier": barrier(losses), "end_error": (errors[0] + errors[-1]) / 2
        }  # fmt: skip

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds of the barriers."""
        from lth_bench.results.analyses import summary

        whole = rows[rows["alpha"].isna()].drop(columns=["alpha", "error", "loss"])
        return summary(whole).drop(columns=["dataset", "model", "recipe"])

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """Barriers by sparsity, and the error along the line at the highest sparsity of each method."""
        methods = canvas.ordered(set(rows["method"]))
        figure, (barriers, errors) = canvas.panels(["Barrier", "Error along the line, highest sparsity"], methods)
        for method in methods:
            look = canvas.looks[method]
            for batch_norm, part in rows[rows["method"] == method].groupby("batch_norm"):
                style = {"color": look.colour, "gid": look.gid, **STYLES.get(batch_norm, {})}
                means = part[part["alpha"].isna()].groupby("target")["barrier"].mean()
                barriers.plot(100 * means.index, means, marker=look.marker, **style)
                means = part[part["target"] == part["target"].max()].groupby("alpha")["error"].mean()
                errors.plot(means.index, means, **style)
        barriers.axhline(STABLE, color="0.5", linestyle="--")
        barriers.set(xlabel="Sparsity (%)", ylabel="Barrier (points)")
        errors.set(xlabel="Share of the second training", ylabel="Test error (%)")
        return figure


def rewound(study: Study, start: Snapshot, order: int) -> State:
    """The end of a training under the ticket's mask from a snapshot of the dense training, in some order."""
    session = study.session(order=order)
    session.adopt(study.ticket.masks, study.ticket.channels)
    session.rewind(start)
    session.train()
    return session.snapshot().state


def aligned(study: Study, state: State, target: State) -> State:
    """A state whose hidden units are in the order that matches the target's weights best. Raises Unsuitable."""
    from lth_bench.pruning.alignment import matched
    from lth_bench.pruning.hidden_units import hidden_units, permuted

    units = hidden_units(study.network(), study.session().input_shape)
    return permuted(state, units, matched(units, state, target, study.rng))


def batch_norms(state: State) -> tuple[str, ...]:
    """The ways to get running statistics on a line between states like this one."""
    return ("recomputed", "interpolated") if any(name.endswith("running_mean") for name in state) else ("none",)


def states(study: Study, one: State, other: State, points: int, batch_norm: str) -> Iterator[State]:
    """States on the line between two, evenly spaced and with both ends."""
    from lth_bench.training.sequels import recalibrate
    from lth_bench.training.state import copied, load

    session = study.session()
    for alpha in np.linspace(0, 1, points).tolist():
        state = between(one, other, alpha)
        if batch_norm == "recomputed":
            load(session.model, state)
            recalibrate(session)
            state = copied(session.model)
        yield state


def training_loss(study: Study) -> Callable[[State], float]:
    """The loss of a state on EXAMPLES training examples, or on all if there are fewer."""
    import torch

    from lth_bench.training.state import load

    network = study.network()
    batch = study.examples(min(EXAMPLES, len(study.session().order.data)))

    @torch.no_grad()
    def loss(state: State) -> float:
        load(network, state)
        return float(torch.nn.functional.cross_entropy(network(batch.inputs), batch.labels))

    return loss


@hookimpl
def register_analyses(register):
    register("barrier", Barrier)
