"""The final network of an experiment in safetensors files that say how to rebuild it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from lth_bench.errors import Damaged, FileFault, ModelError
from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import Plugins, load_plugins
from lth_bench.export.finding import Finished
from lth_bench.models.networks import architecture, timm_arguments
from lth_bench.models.timm_models import check_name, register_models
from lth_bench.pruning.channels import gates, structure
from lth_bench.pruning.tickets import Ticket
from lth_bench.randomness import seeded
from lth_bench.storage.reading import regular
from lth_bench.storage.tensors import State

OF_WEIGHTS = ("pretrained", "weights", "output_layer")
"""Arguments of models that say with which weights a network starts."""


@dataclass(frozen=True)
class Blueprint:
    """What a network is made from: a model, the shape of its images, C×H×W, and the number of classes."""

    model: Choice
    shape: tuple[int, ...]
    classes: int

    @property
    def metadata(self) -> dict[str, str]:
        """The same in the form of the metadata of a file."""
        arguments, shape = json.dumps(self.model.arguments), json.dumps(self.shape)
        return {"model": self.model.name, "arguments": arguments, "shape": shape, "classes": str(self.classes)}

    def network(self, plugins: Plugins) -> nn.Module:
        """A network of this architecture. Raises ModelError."""
        register_models(plugins.models.items)
        check_name(self.model.name, plugins.models)
        with seeded(0):
            return architecture(self.model, self.shape, self.classes)

    def lines(self, file: Path, plugins: Plugins) -> list[str]:
        """The imports, and two lines of Python that load a file into this network. Raises ModelError."""
        name, own = self.model.name, self.model.name in plugins.models.items
        arguments = None if own else timm_arguments(self.model, self.shape, self.classes)
        if arguments is None:
            return ["import lth_bench", f"network = lth_bench.load_network({str(file)!r})"]
        words = "".join(f", {argument}={value!r}" for argument, value in arguments.items())
        return [
            "import safetensors.torch, timm",
            f"network = timm.create_model({name!r}{words})",
            f"network.load_state_dict(safetensors.torch.load_file({str(file)!r}))",
        ]


def blueprint(model: Choice, shape: tuple[int, ...], classes: int) -> Blueprint:
    """What an experiment's network is made from, without what would fetch weights."""
    arguments = {name: value for name, value in model.arguments.items() if name not in OF_WEIGHTS}
    return Blueprint(Choice(model.name, arguments), shape, classes)


def final_network(finished: Finished, made: Blueprint, plugins: Plugins) -> nn.Module:
    """The network as it was after training, zero where it is pruned, in evaluation mode. Raises ModelError."""
    return loaded(made.network(plugins), finished.ticket.final, made.model.name)


def load_network(path: str | Path) -> nn.Module:
    """The network of a file that `lth-bench export` wrote, in evaluation mode. Raises FileFault and ModelError."""
    file = regular(Path(path))
    try:
        with safetensors.safe_open(file, "pt") as content:
            metadata = content.metadata() or {}
        state = safetensors.torch.load_file(file)
    except (SafetensorError, ValueError) as error:
        raise Damaged(f"{path} is no safetensors file: {error}") from error
    made = _blueprint(metadata)
    if made is None:
        raise FileFault(f"{path} does not say which model it is of; give a file that `lth-bench export` wrote")
    return loaded(made.network(load_plugins()), state, made.model.name)


def state_file(finished: Finished, made: Blueprint, dataset: Dataset) -> bytes:
    """A state dict in the form of safetensors; its metadata say what it is of, and how its images are normalised."""
    experiment = finished.record.experiment
    metadata = {
        "key": experiment.key,
        "dataset": experiment.dataset.name,
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
        "pruner": experiment.pruner.name,
        "sparsity": repr(finished.sparsity.measured),
        "accuracy": repr(finished.accuracy),
    }
    return safetensors.torch.save(_copies(finished.ticket.final), {"format": "pt", **made.metadata, **metadata})


def masks_file(network: nn.Module, ticket: Ticket, shape: tuple[int, ...]) -> bytes:
    """Masks by the names of parameters, as truth values, in the form of safetensors.

    A ticket of channels has them for biases and norms too.
    """
    parameters = dict(network.named_parameters())
    names = {id(parameter): name for name, parameter in parameters.items()}
    whole = structure(network, {name: parameters[name] for name in ticket.masks}, shape)
    held = (
        {names[id(parameter)]: alive for parameter, alive in gates(whole, ticket.channels)} if ticket.channels else {}
    )
    return safetensors.torch.save(_copies({**ticket.masks, **held}), {"format": "pt"})


def _copies(state: State) -> State:
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def _blueprint(metadata: dict[str, str]) -> Blueprint | None:
    try:
        arguments: dict[str, Any] = json.loads(metadata["arguments"])
        shape = tuple(json.loads(metadata["shape"]))
        return Blueprint(Choice(metadata["model"], arguments), shape, int(metadata["classes"]))
    except (KeyError, ValueError, TypeError):
        return None


def loaded(network: nn.Module, state: State, name: str) -> nn.Module:
    """A network with this state, in evaluation mode. Raises ModelError."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the model {name!r} as it is now; use the version of its package that trained them "
            f"({str(error).splitlines()[-1].strip()})"
        ) from error
    return network.eval()
