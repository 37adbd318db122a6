"""Networks made of what a case describes, and Sessions on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.cases import Case
from lth_bench.data.examples import Batch, Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import Pattern
from lth_bench.experiments.recipe import Recipe
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

RECIPE = Recipe(Duration("1it"), 1, 0.1)
LAYERS: dict[int, Callable[..., nn.Module]] = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "relu": lambda node, x: x.relu(),
    "add": lambda node, *inputs: sum(inputs),
    "global_avg_pool": lambda node, x: x.mean((2, 3)),
    "flatten": lambda node, x: x.flatten(1),
    "max_pool2d": lambda node, x: functional.max_pool2d(x, **_given(node, "kernel_size", "stride", "padding")),
    "avg_pool2d": lambda node, x: functional.avg_pool2d(x, **_given(node, "kernel_size", "stride", "padding")),
}
MODULES: dict[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
    "conv2d": (
        nn.Conv2d,
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    ),
    "linear": (nn.Linear, ("in_features", "out_features", "bias")),
    "batchnorm2d": (nn.BatchNorm2d, ("num_features", "eps", "momentum", "affine")),
}


class Graph(nn.Module):
    """The network that a case describes node by node; dots in the id of a node nest modules."""

    def __init__(self, network: Mapping[str, Any]) -> None:
        super().__init__()
        self._description = network["nodes"]
        self._output = network.get("output", self._description[-1]["id"])
        for node in self._description:
            if node["op"] in MODULES:
                make, arguments = MODULES[node["op"]]
                nest(self, node["id"], make(**_given(node, *arguments)))
            elif node["op"] not in OPERATIONS:
                known = ", ".join([*MODULES, *OPERATIONS])
                raise ValueError(f"node {node['id']!r} has an unknown op {node['op']!r}; known: {known}")

    def forward(self, x: Tensor) -> Tensor:
        values = {"x": x}
        for node in self._description:
            inputs = [values[name] for name in node["in"]]
            operation = OPERATIONS.get(node["op"])
            values[node["id"]] = operation(node, *inputs) if operation else self.get_submodule(node["id"])(*inputs)
        return values[self._output]


class Weights(nn.Module):
    """Layers that hold given weights under given (dotted) names, and compute nothing."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, weight in weights.items():
            outputs, inputs, *kernel = weight.shape
            make = LAYERS[weight.ndim]
            layer = make(inputs, outputs, tuple(kernel), bias=False) if kernel else make(inputs, outputs, bias=False)
            layer.weight.data = weight.clone()
            nest(self, name.removesuffix(".weight"), layer)

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 2)


class Sloped(Weights):
    """A network whose loss has given gradients, up to a positive factor that all of them share."""

    def __init__(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self.gradients = gradients

    def forward(self, x: Tensor) -> Tensor:
        slope = sum((weight * self.gradients[name]).sum() for name, weight in self.named_parameters())
        return torch.stack([slope.new_zeros(()), slope]).expand(len(x), 2)


def nest(root: nn.Module, name: str, module: nn.Module) -> None:
    """Adds a module under a dotted name, and empty modules for the parts before the last."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(leaf, module)


def examples(case: Case) -> Batch:
    """The inputs, in the dtype of the case, and the labels; one example of zeros where the case has none."""
    inputs, labels = case.arrays("x").get(""), case.arrays("y").get("")
    if inputs is None:
        inputs = torch.zeros(1, *case.meta.get("network", {}).get("input_shape", [1]))
    labels = torch.zeros(len(inputs)) if labels is None else labels
    return Batch(inputs.to(case.dtype), labels.long())


def network_session(case: Case, pattern: Pattern | None = None) -> Session:
    """A Session on the case's network with the case's weights, checked against the case's logits."""
    graph = Graph(case.meta["network"])
    values = case.arrays("param/") | case.arrays("buffer/")
    missing = {name for name, _ in graph.named_parameters()} - values.keys()
    if missing:
        raise ValueError(f"{case.path.name} has no param/ for {', '.join(sorted(missing))}")
    graph.load_state_dict(values, strict=False)
    batch = examples(case)
    session = session_on(graph.to(case.dtype), batch, pattern=pattern)
    for mode, logits in case.arrays("check/logits_f64.").items():
        with torch.no_grad(), session.scoring(training=mode == "train"):
            allowed = 1e-12 if case.dtype == torch.float64 else 1e-4
            assert torch.allclose(graph(batch.inputs).double(), logits, atol=allowed, rtol=allowed), f"logits.{mode}"
    return session


def weights_session(weights: Mapping[str, Tensor], pattern: Pattern | None = None) -> Session:
    return session_on(Weights(weights), pattern=pattern)


def session_on(
    network: nn.Module, batch: Batch | None = None, sparsity: float = 0.5, pattern: Pattern | None = None
) -> Session:
    """A Session on a network as it is, and on these examples or a single one of zeros."""
    inputs, labels = batch or (torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    data = Examples(inputs, labels)
    return Session(Setup(lambda seed: network, data, data, RECIPE, sparsity, 0, pattern=pattern))


def _given(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The values that a node gives; lists as tuples."""
    values = {name: node[name] for name in names if name in node}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
