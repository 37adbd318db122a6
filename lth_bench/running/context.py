"""The context in which experiments run: plugins, data root, device and store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lth_bench.data.examples import Source
from lth_bench.data.lazy import LazyExamples
from lth_bench.data.loading import completed, examples, held_out
from lth_bench.errors import DataError, ModelError
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.datasets import Arrays, Dataset, Listing
from lth_bench.experiments.experiment import Choice, Experiment, without_defaults
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.plugins import Plugins, Registry
from lth_bench.hashing import canonical
from lth_bench.models.layer_roles import output_weights
from lth_bench.models.loading import State, load_weights, read_weights
from lth_bench.models.networks import adapters_of, make_network, prunable_weights
from lth_bench.models.pretrained import translated
from lth_bench.models.timm_models import check_name, model_function, register_models
from lth_bench.running.code import Code
from lth_bench.storage.source_hash import modules_hash
from lth_bench.storage.store import Store
from lth_bench.training.memory import Memory, Watch
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup


@dataclass(frozen=True)
class Training:
    """The training split of a data set, in its two parts: for training and held out for validation.

    `digest` is the hash of the whole split. Where images are read on demand, their pixels also depend on `reading`.
    """

    dataset: Dataset
    training: Source
    validation: Source
    digest: str
    reading: list[str]


@dataclass
class Context:
    """What all experiments of a process share: plugins, data, device and store.

    Training splits are read once; the test split is read anew each time. Without a store, all training is computed.
    `loaders` processes read ahead images that memory does not hold. `weights` are files that models start from, by what
    identifies them; they are read once.
    """

    plugins: Plugins
    data_root: Path | None
    device: torch.device
    store: Store | None = None
    watch: Watch = field(default_factory=Watch)
    loaders: int = 0
    weights: dict[str, Path] = field(default_factory=dict)
    code: Code = field(init=False)
    _read: dict[str, Training] = field(default_factory=dict)
    _placed: dict[str, tuple[Source, Source]] = field(default_factory=dict)
    _loaded: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        register_models(self.plugins.models.items)
        self.code = Code(self.plugins)

    def training(self, dataset: Choice) -> tuple[Source, Source]:
        """The training and the validation examples, on the device."""
        name = _name(dataset)
        if name not in self._placed:
            split = self.read(dataset)
            self._placed[name] = split.training.to(self.device), split.validation.to(self.device)
        return self._placed[name]

    def examples(self, experiment: Experiment) -> tuple[Source, Source]:
        """The training and the validation examples as the experiment's model sees them, on the device.

        Raises ModelError.
        """
        dataset, normalisation = experiment.dataset, adapters_of(experiment.model).normalisation
        name = f"{_name(dataset)} {normalisation or ''}"
        if name not in self._placed:
            training, validation = self.training(dataset)
            self._placed[name] = self.seen(training, experiment), self.seen(validation, experiment)
        return self._placed[name]

    def seen(self, source: Source, experiment: Experiment) -> Source:
        """Examples as the experiment's model sees them: normalised as those were that its weights are from.

        Raises ModelError.
        """
        if (normalisation := adapters_of(experiment.model).normalisation) is None:
            return source
        if len(normalisation.mean) != source.shape[0]:
            raise ModelError(
                f"{experiment.model.name!r}: its mean and std are for {len(normalisation.mean)} channels, images of "
                f"{experiment.dataset.name!r} have {source.shape[0]}; give the model others, or normalisation = 'data'"
            )
        return source.renormalised(normalisation.mean, normalisation.std)

    def read(self, dataset: Choice) -> Training:
        """The training split in main memory; touches no device. Raises DataError."""
        name = _name(dataset)
        if name not in self._read:
            registered = dataset_named(self.plugins.datasets, dataset)
            content = registered.read("train", self.data_root)
            complete = completed(registered, content)
            whole = self._source(complete, content)
            if not 0 < complete.validation < len(whole):
                raise DataError(
                    f"{dataset.name}: of {len(whole)} training images, {complete.validation} are to be held out for "
                    f"validation; give a `validation` from 1 to {len(whole) - 1}"
                )
            self._read[name] = Training(
                complete, *held_out(whole, complete.validation), whole.digest(), _reading(content)
            )
        return self._read[name]

    def test(self, dataset: Choice) -> Source:
        """The test split, on the device. Raises DataError, also where its images are of another size."""
        training = self.read(dataset)
        test = self._source(training.dataset, training.dataset.read("test", self.data_root))
        if test.shape != training.training.shape:
            sizes = (" by ".join(map(str, part.shape)) for part in (training.training, test))
            raise DataError("{}: training images are {}, test images {}".format(dataset.name, *sizes))
        return test.to(self.device)

    def classes(self, dataset: Choice) -> int:
        classes = self.read(dataset).dataset.classes
        assert classes is not None
        return classes

    def network(self, experiment: Experiment, seed: int) -> nn.Module:
        """The experiment's network as it starts: with the weights of its file, else drawn from this seed.

        Raises ModelError.
        """
        network, adapters = self.drawn(experiment, seed), adapters_of(experiment.model)
        if adapters.weights:
            left_out = output_weights(network) if adapters.output_layer == "new" else []
            try:
                load_weights(network, self._state(experiment), left_out)
            except ModelError as error:
                raise ModelError(f"{experiment.model.name!r}: {error}") from error
        return network

    def drawn(self, experiment: Experiment, seed: int) -> nn.Module:
        """The experiment's network with all weights drawn from this seed. Raises ModelError."""
        check_name(experiment.model.name, self.plugins.models)
        dataset = experiment.dataset
        shape, classes = self.read(dataset).training.shape, self.classes(dataset)
        return make_network(experiment.model, experiment.recipe, shape, classes, seed).to(self.device)

    def prunable(self, experiment: Experiment, network: nn.Module) -> dict[str, nn.Parameter]:
        """The prunable weights of a network."""
        return prunable_weights(experiment.model, network)

    def session(self, experiment: Experiment) -> Session:
        """A new Session for an experiment."""
        return Session(self.setup(experiment))

    def setup(self, experiment: Experiment) -> Setup:
        """What a Session needs for an experiment."""
        training, validation = self.examples(experiment)
        return Setup(
            network=lambda seed: self.network(experiment, seed),
            drawn=lambda seed: self.drawn(experiment, seed),
            training=training,
            validation=validation,
            recipe=experiment.recipe,
            sparsity=experiment.sparsity,
            seed=experiment.seed,
            memory=Memory(self.store, self._about(experiment), self.watch) if self.store else None,
            progress=self.watch.progress,
            tell=self.watch.tell,
            prunable=lambda network: self.prunable(experiment, network),
            pattern=parsed(experiment.pattern) if experiment.pattern else None,
        )

    def _about(self, experiment: Experiment) -> dict[str, Any]:
        """Everything that training depends on beside the state of the Session."""
        dataset, model = experiment.dataset, experiment.model
        return {
            "model": without_defaults(model),
            "function": modules_hash(frozenset([model_function(model.name).__module__])),
            "timm": version("timm"),
            "data": [self.read(dataset).digest, self.read(dataset).dataset.validation, *self.read(dataset).reading],
            "classes": self.classes(dataset),
        }

    def _state(self, experiment: Experiment) -> State:
        """The weights that a model starts from. Raises ModelError."""
        model, adapters = experiment.model, adapters_of(experiment.model)
        digest, shape = adapters.weights, self.read(experiment.dataset).training.shape
        if digest not in self.weights:
            raise ModelError(f"no file is known for the weights {digest}; name it by `weights` in the suite")
        is_timms = adapters.weights_from == "timm"
        place = f"{_name(model)} {shape}" if is_timms else digest
        if place not in self._loaded:
            weights = read_weights(self.weights[digest], digest)
            self._loaded[place] = translated(weights, model, shape) if is_timms else weights
        return self._loaded[place]

    def _source(self, dataset: Dataset, content: Arrays | Listing) -> Source:
        if isinstance(content, Listing):
            assert dataset.mean is not None and dataset.std is not None
            return LazyExamples(content, dataset.mean, dataset.std, self.loaders)
        return examples(dataset, content)


def dataset_named(registry: Registry, entry: Choice) -> Dataset:
    """The data set that an experiment names."""
    item = registry[entry.name]
    return item if isinstance(item, Dataset) else instantiate(registry, entry.name, entry.arguments)()


def _reading(content: Arrays | Listing) -> list[str]:
    if not isinstance(content, Listing):
        return []
    code = modules_hash(frozenset([type(content.open).__module__]))
    return [content.stamp, code, *(version(package) for package in ("torchvision", "pillow"))]


def _name(entry: Choice) -> str:
    return canonical(dataclasses.asdict(entry))


def instance(registry: Registry, entry: Choice) -> Any:
    """The pruner or control that an experiment names."""
    return instantiate(registry, entry.name, entry.arguments)
