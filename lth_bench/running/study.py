"""What an analysis gets: a finished experiment with its ticket, its peers, and Sessions of its own setup."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from lth_bench.data.examples import Batch, Source
from lth_bench.errors import Unsuitable
from lth_bench.experiments.choices import dataset_choice
from lth_bench.experiments.experiment import NOTHING, Choice, Experiment
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.predictions import evaluate
from lth_bench.pruning.tickets import Ticket
from lth_bench.randomness import generator, stream_seed
from lth_bench.running.context import Context
from lth_bench.running.finished import FinishedExperiment, finished
from lth_bench.running.transfer import fitted
from lth_bench.storage.record import Record
from lth_bench.storage.tensors import State
from lth_bench.training import state
from lth_bench.training.sequels import recalibrate
from lth_bench.training.session import Session


@dataclass(frozen=True)
class Measured:
    """Mean cross-entropy in nats, and the share of correct answers from 0 to 1."""

    loss: float
    accuracy: float

    @property
    def error(self) -> float:
        """The share of wrong answers."""
        return 1 - self.accuracy


def _is_dense(experiment: Experiment) -> bool:
    """Whether an experiment trains the dense network and nothing after that."""
    return experiment.sparsity == 0 and experiment.control is None and experiment.after == NOTHING


class Study:
    """A finished experiment that an analysis reads, and may train from.

    `peers` are read as they stand now. `rng` is a stream of the experiment's seed. Training is looked up in the store
    and charged to the record of the analysis.
    """

    def __init__(self, subject: FinishedExperiment, context: Context) -> None:
        self.subject = subject
        self.rng = generator(subject.experiment.seed, "analysis")
        self.sessions: list[tuple[Experiment, Session]] = []
        self._context = context
        self._tests: dict[str, Source] = {}
        self._measuring: dict[str, nn.Module] = {}

    @property
    def key(self) -> str:
        """The key of the experiment."""
        return self.subject.key

    @property
    def experiment(self) -> Experiment:
        """What was asked for: data set, model, recipe, method, sparsity and seed."""
        return self.subject.experiment

    @property
    def record(self) -> Record:
        """The record: measured sparsity, test accuracy, curve, notes."""
        return self.subject.record

    @property
    def ticket(self) -> Ticket:
        """The ticket: masks, the step and the weights when the final mask took force, final weights."""
        return self.subject.ticket

    @property
    def peers(self) -> Iterator[FinishedExperiment]:
        """The other finished experiments of the run directory, with their records and tickets."""
        return (one for one in finished(self.subject.directory) if one.key != self.key)

    @cached_property
    def dense(self) -> FinishedExperiment | None:
        """The dense experiment of the same data set, model, recipe and seed, if it is among the peers."""
        mine = self.experiment
        same = {"dataset": mine.dataset, "model": mine.model, "recipe": mine.recipe, "seed": mine.seed}
        dense = [
            one for one in self.peers if _is_dense(one.experiment) and same.items() <= vars(one.experiment).items()
        ]
        return dense[0] if dense else None

    @cached_property
    def dense_end(self) -> State:
        """The state at the end of the dense training, on the CPU; trained where there is no dense experiment."""
        if self.dense is not None:
            return self.dense.ticket.final
        session = self.session()
        session.train()
        return {name: value.cpu() for name, value in session.snapshot().state.items()}

    @cached_property
    def initial(self) -> State:
        """The state before the first step, on the CPU, as those of tickets are."""
        return {name: value.cpu() for name, value in state.copied(self.network()).items()}

    def network(self, weights: State | None = None, dataset: Choice | str | None = None) -> nn.Module:
        """A new network of the experiment in evaluation mode: as it starts, or with this state."""
        experiment = self._variant(dataset=dataset)
        network = self._context.network(experiment, stream_seed(experiment.seed, "initialisation"))
        if weights is not None:
            state.load(network, weights)
        return network.eval()

    def prunable(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """The prunable weights of a network by layer, as the ticket names them."""
        return self._context.prunable(self.experiment, network)

    def session(
        self,
        *,
        order: int = 0,
        seed: int | None = None,
        recipe: Recipe | None = None,
        dataset: Choice | str | None = None,
    ) -> Session:
        """A new Session of the experiment's setup, at step 0 with its initial weights and nothing pruned.

        Another `order` changes the order of the data, their augmentation and noise alone, another `seed` all; `recipe`
        and `dataset` (a name) take the place of the experiment's.
        """
        experiment = self._variant(seed, recipe, dataset)
        setup = self._context.setup(experiment)
        if order:
            initial, make = stream_seed(setup.seed, "initialisation"), setup.network
            other = stream_seed(setup.seed, "other order", order)
            setup = dataclasses.replace(setup, seed=other, network=lambda _: make(initial))
        session = Session(setup)
        self.sessions.append((experiment, session))
        return session

    def fitted(self, session: Session, ticket: Ticket | None = None) -> Ticket:
        """The ticket, or another one, fitted to the network of a Session on other data. Raises Unsuitable."""
        return fitted(self.ticket if ticket is None else ticket, session)

    def test(self, weights: State, dataset: Choice | str | None = None) -> Measured:
        """Loss and accuracy of a state on the test split, in evaluation mode."""
        experiment = self._variant(dataset=dataset)
        name = str(experiment.dataset)
        if name not in self._tests:
            self._tests[name] = self._context.seen(self._context.test(experiment.dataset), experiment)
        return self._measured(weights, self._tests[name], dataset)

    def training(self, weights: State, dataset: Choice | str | None = None) -> Measured:
        """Loss and accuracy of a state on the whole training split, in evaluation mode, without augmentation."""
        return self._measured(weights, self._context.examples(self._variant(dataset=dataset))[0], dataset)

    @property
    def training_examples(self) -> int:
        """How many there are."""
        return len(self._context.examples(self.experiment)[0])

    def examples(self, count: int) -> Batch:
        """`count` training examples, the same for all experiments on the data set. Raises Unsuitable."""
        data = self._context.examples(self.experiment)[0]
        if count > len(data):
            raise Unsuitable(f"{count} training examples are asked for, of {len(data)}; ask for fewer")
        return data.batch(torch.randperm(len(data), generator=generator(0, "analysed examples"))[:count])

    def recalibrated(self, weights: State) -> State:
        """A state with the running statistics of its batch norms estimated anew, as `after = 'batch_norm'` does."""
        session = self.session()
        state.load(session.model, weights)
        recalibrate(session)
        return state.copied(session.model)

    @property
    def progress(self) -> Callable[[], None]:
        """To be called now and then by long work without a Session: the sign of life that the run's limits want."""
        return self._context.watch.progress

    def _measured(self, weights: State, data: Source, dataset: Choice | str | None) -> Measured:
        if (name := str(dataset)) not in self._measuring:
            self._measuring[name] = self.network(dataset=dataset)
        state.load(self._measuring[name], weights)
        return Measured(*evaluate(self._measuring[name], data, self.progress))

    def _variant(
        self, seed: int | None = None, recipe: Recipe | None = None, dataset: Choice | str | None = None
    ) -> Experiment:
        """The experiment with another seed, recipe or data set."""
        if isinstance(dataset, str):
            dataset = dataset_choice(self._context.plugins, dataset, {})
        mine = self.experiment
        return dataclasses.replace(
            mine,
            seed=mine.seed if seed is None else seed,
            recipe=recipe or mine.recipe,
            dataset=dataset or mine.dataset,
        )
