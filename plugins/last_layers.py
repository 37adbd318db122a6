"""The last layers of networks on two features: affine, ReLU, affine; no plugin itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_bench import Unsuitable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lth_bench_plugins.polygons import Polygon


@dataclass(frozen=True)
class Layers:
    """f(x) = outward relu(inward x + biases) + offset, with weights p×2 and K×p."""

    inward: np.ndarray
    biases: np.ndarray
    outward: np.ndarray
    offset: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The outputs at points N×2, N×K."""
        return np.maximum(points @ self.inward.T + self.biases, 0) @ self.outward.T + self.offset

    def polygon(self, pair: tuple[int, int] = (0, 1)) -> Polygon:
        from lth_bench_plugins.polygons import dual_polygon

        return dual_polygon(self.inward, self.outward, pair)

    def of(self, pair: tuple[int, int]) -> Layers:
        """The same with two of its outputs."""
        return replace(self, outward=self.outward[list(pair)], offset=self.offset[list(pair)])

    @property
    def text(self) -> str:
        return brief({name: value.tolist() for name, value in asdict(self).items()})


def from_text(text: str) -> Layers:
    return Layers(**{name: np.array(value) for name, value in json.loads(text).items()})


def brief(value: Any) -> str:
    """JSON with numbers to five digits."""
    return json.dumps(json.loads(json.dumps(value), parse_float=lambda digits: float(f"{float(digits):.5g}")))


def last_layers(network: nn.Module, inputs: Tensor) -> tuple[Layers, np.ndarray]:
    """The last layers of a network, and the two features of each input. Raises Unsuitable for networks of other kinds.

    Whether they compute what the network does is tried on the inputs.
    """
    import torch
    from torch import nn

    parts = [module for module in network.modules() if not list(module.children())][-3:]
    kinds = [nn.Linear, nn.ReLU, nn.Linear]
    if [type(part) for part in parts] != kinds or parts[0].in_features != 2:
        raise Unsuitable("the network does not end in an affine layer of two inputs, ReLU and an affine layer")
    seen: list[Tensor] = []
    with parts[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1))), torch.no_grad():
        outputs = network(inputs).double().cpu().numpy()
    features = seen[0].double().cpu().numpy()
    layers = Layers(*(array for part in (parts[0], parts[2]) for array in _arrays(part)))
    if not np.allclose(layers(features), outputs, atol=1e-3 * np.abs(outputs).max()):
        raise Unsuitable("the network computes something else than its last affine layer, ReLU and affine layer do")
    return layers, features


def _arrays(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    weight = layer.weight.detach().double().cpu().numpy()
    return weight, np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().cpu().numpy()
