"""The files that an experiment is exported as, by the ending of their names, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from lth_bench.experiments.choices import label
from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.plugins import Plugins
from lth_bench.export.account import savings
from lth_bench.export.finding import Finished, find
from lth_bench.export.graphs import (
    TOLERANCE,
    difference,
    exported,
    onnx_file,
    onnx_outputs,
    program_file,
    program_outputs,
    require_onnx,
)
from lth_bench.export.state_files import Blueprint, blueprint, final_network, masks_file, state_file
from lth_bench.export.thin import thinned
from lth_bench.running.context import Context

IMAGES = 32  # of the validation split, on which outputs are compared


@dataclass
class Package:
    """A finished experiment on its way to files; `images` are those that outputs are compared on."""

    finished: Finished
    made: Blueprint
    plugins: Plugins
    images: Tensor
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def network(self) -> nn.Module:
        return final_network(self.finished, self.made, self.plugins)

    @cached_property
    def outputs(self) -> Tensor:
        with torch.no_grad():
            return self.network(self.images)  # type: ignore[no-any-return]

    def lines(self, file: Path) -> list[str]:
        """Lines of Python that load the state dict from this file."""
        return self.made.lines(file, self.plugins)

    def add_onnx(self) -> None:
        """Adds the masked network as ONNX. Raises ModelError."""
        require_onnx()
        self._add_onnx(".onnx", exported(self.network, self.images), "the ONNX file")

    def add_thin(self) -> None:
        """Adds the network without removed channels as ONNX and as torch's ExportedProgram. Raises ModelError."""
        require_onnx()
        ticket = self.finished.ticket
        thin = thinned(self.network, ticket.masks, ticket.channels)
        saved = savings(thin.network, self.finished, self.made.shape)
        self.notes += [
            f"thin network: {saved.parameters:,} parameters (dense: {saved.dense_parameters:,}); prunable weights: "
            f"{saved.weights:,} (record: {saved.recorded_weights:,}); FLOPs of an image: {saved.flops:,} (record: "
            f"{saved.recorded_flops:,})",
            *saved.larger,
        ]
        if thin.put_back:
            self.notes.append(f"removed channels are put back as zeros at {', '.join(thin.put_back)}")
        program = exported(thin.network, self.images)
        content = program_file(program)
        self._compare(program_outputs(content, self.images), "the thin network")
        self.files[".thin.pt2"] = content
        self._add_onnx(".thin.onnx", program, "the thin network as ONNX")

    def _add_onnx(self, ending: str, program: torch.export.ExportedProgram, what: str) -> None:
        content = onnx_file(program)
        outputs = onnx_outputs(content, self.images)
        if outputs is None:
            self.notes.append(f"{what} was not compared with the masked network: onnxruntime is not installed")
        else:
            self._compare(outputs, what)
        self.files[ending] = content

    def _compare(self, outputs: Tensor, what: str) -> None:
        share = difference(outputs, self.outputs, what)
        self.notes.append(
            f"{what} equals the masked network on {len(self.images)} validation images: the largest difference is "
            f"{share:.1e} of the largest output (allowed: {TOLERANCE:g})"
        )


def pack(what: str, directory: Path | None, data: Path | None, plugins: Plugins) -> Package:
    """An experiment with its state dict and its masks. Raises FileFault, DataError, ModelError and LookupError."""
    finished = find(what, directory)
    experiment = finished.record.experiment
    context = Context(plugins, data, torch.device("cpu"))
    data_set, validation = context.read(experiment.dataset).dataset, context.read(experiment.dataset).validation
    made = blueprint(experiment.model, validation.shape, context.classes(experiment.dataset))
    package = Package(finished, made, plugins, validation.batch(slice(0, IMAGES)).inputs)
    package.files[".safetensors"] = state_file(finished, made, data_set)
    package.files[".masks.safetensors"] = masks_file(package.network, finished.ticket, made.shape)
    package.notes += _facts(finished, made, data_set)
    return package


def _facts(finished: Finished, made: Blueprint, dataset: Dataset) -> Iterator[str]:
    record, experiment = finished.record, finished.record.experiment
    yield (
        f"{record.key}: {record.label}, {record.model_label or label(experiment.model)} on "
        f"{record.dataset_label or label(experiment.dataset)}, seed {experiment.seed}; sparsity "
        f"{finished.sparsity.measured:.4f}, test accuracy {finished.accuracy:.2%}"
    )
    mean, deviation = (", ".join(f"{value:.4g}" for value in values or ()) for values in (dataset.mean, dataset.std))
    size = "×".join(map(str, made.shape))
    yield f"images: {size}, pixels from 0 to 1, less their mean ({mean}), divided by their deviation ({deviation})"
