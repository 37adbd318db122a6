"""Where experiments run: the plugins, the data root, the device and the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lth_bench.data import Examples, examples, held_out
from lth_bench.experiment import Choice, Experiment, without_defaults
from lth_bench.files import sha256
from lth_bench.memory import Memory, Watch
from lth_bench.models import make_model, model_function, register_models
from lth_bench.plugins import Plugins, Registry
from lth_bench.session import Session, Setup
from lth_bench.sources import modules_hash
from lth_bench.store import Store
from lth_bench.streams import kept_noise
from lth_bench.suite import instantiate
from lth_bench.tensors import serialized


@dataclass
class Site:
    """Where experiments run. Training splits that were read are kept; the test split never is.

    Without a store, everything is computed.
    """

    plugins: Plugins
    data_root: Path | None
    device: torch.device
    store: Store | None = None
    watch: Watch = field(default_factory=Watch)
    _read: dict[str, tuple[Examples, Examples]] = field(default_factory=dict)
    _placed: dict[str, tuple[Examples, Examples]] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        register_models(self.plugins.models.items)

    def training(self, dataset: str) -> tuple[Examples, Examples]:
        """What is trained on, and the validation split, on the device."""
        if dataset not in self._placed:
            training, validation = self.read(dataset)
            self._placed[dataset] = training.to(self.device), validation.to(self.device)
        return self._placed[dataset]

    def read(self, dataset: str) -> tuple[Examples, Examples]:
        """The same in main memory; touches no device."""
        if dataset not in self._read:
            self._read[dataset] = held_out(self._split(dataset, "train"), self.plugins.datasets[dataset].validation)
        return self._read[dataset]

    def test(self, dataset: str) -> Examples:
        return self._split(dataset, "test").to(self.device)

    def network(self, experiment: Experiment, seed: int) -> nn.Module:
        """The experiment's network, with initial weights drawn from this seed."""
        model, dataset = experiment.model, experiment.dataset.name
        with kept_noise(torch.device("cpu")):
            torch.default_generator.manual_seed(seed)
            made = make_model(
                model.name, model.arguments, self.training(dataset)[0], self.plugins.datasets[dataset].classes
            )
        return made.to(self.device)

    def session(self, experiment: Experiment) -> Session:
        """A fresh Session for an experiment."""
        training, validation = self.training(experiment.dataset.name)
        setup = Setup(
            network=lambda seed: self.network(experiment, seed),
            training=training,
            validation=validation,
            recipe=experiment.recipe,
            sparsity=experiment.sparsity,
            seed=experiment.seed,
            memory=Memory(self.store, self._about(experiment), self.watch) if self.store else None,
            progress=self.watch.progress,
        )
        return Session(setup)

    def _about(self, experiment: Experiment) -> dict[str, Any]:
        """What training depends on beside the state of the Session."""
        dataset, model = experiment.dataset.name, experiment.model
        return {
            "model": without_defaults(model),
            "function": modules_hash(frozenset([model_function(model.name).__module__])),
            "timm": version("timm"),
            "data": self.digest(dataset),
            "classes": self.plugins.datasets[dataset].classes,
        }

    def digest(self, dataset: str) -> str:
        """Hash of the training and validation examples as they are used."""
        if dataset not in self._digests:
            splits = zip(("training", "validation"), self.read(dataset), strict=True)
            tensors = {f"{name}/{part}": value for name, split in splits for part, value in vars(split).items()}
            self._digests[dataset] = sha256(serialized({n: v for n, v in tensors.items() if v is not None}))
        return self._digests[dataset]

    def _split(self, name: str, split: Any) -> Examples:
        dataset = self.plugins.datasets[name]
        return examples(dataset, dataset.read(split, self.data_root))


def instance(registry: Registry, entry: Choice) -> Any:
    """The pruner or control that an experiment names."""
    return instantiate(registry, entry.name, entry.arguments)
