"""The smaller network of a ticket of channels: the dense one without the channels that can only be zero.

`torch.fx` traces the network, and every value is followed with the channels that it has left, from layer to layer.
Convolutions, linear layers and batch norms lose their channels; activations, pooling, sums, products and concatenations
pass them on. Where values with different channels meet, and in front of anything else, removed channels are put back as
zeros, so that any network that can be traced gives a right one.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn

from lth_bench.errors import ModelError
from lth_bench.export.slices import (
    NORM_TENSORS,
    Rearranged,
    shift_of_zeros,
    shrink_depthwise,
    shrink_layer,
    shrink_norm,
    some,
    written,
)
from lth_bench.export.values import (
    ELEMENTWISE,
    ELEMENTWISE_CALLS,
    FLATTENINGS,
    GATE_CALLS,
    GATES,
    MEANS,
    POOLING_CALLS,
    POOLS,
    PRODUCTS,
    SUMS,
    Value,
    averaged,
    covers,
    flattened,
    over,
    pooled,
)
from lth_bench.models.layer_roles import PRUNABLE
from lth_bench.pruning.masks import Masks
from lth_bench.pruning.zero_flow import NORMS


@dataclass(frozen=True)
class Thinned:
    """A smaller network, and where in it channels that were removed are put back as zeros."""

    network: nn.Module
    put_back: list[str]


def thin(network: nn.Module, masks: Masks, channels: Masks) -> nn.Module:
    """A network without the channels that can only be zero: on every image it computes what `network` computes.

    `network` has the weights of the ticket; it is left as it is. Raises ModelError.
    """
    return thinned(network, masks, channels).network


def thinned(network: nn.Module, masks: Masks, channels: Masks) -> Thinned:
    """As `thin`, and where in it removed channels are put back. Raises ModelError."""
    if all(bool(channel.all()) for channel in channels.values()):
        raise ModelError(
            "the ticket keeps all channels of every layer, so that no smaller network follows from its masks; thin "
            "tickets of structured methods, such as l1_filter"
        )
    thinning = Thinning(network, masks)
    return Thinned(thinning.result(), thinning.put_back)


class Tracer(fx.Tracer):
    """Keeps layers and norms as they are, and modules that cannot be traced."""

    def __init__(self) -> None:
        functions, modules = cast(Any, get_notrace_functions)(), cast(Any, get_notrace_modules)()
        super().__init__(autowrap_functions=tuple(functions))
        self._whole = (*PRUNABLE, *NORMS, *modules)

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, self._whole) or super().is_leaf_module(module, name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before, stack = len(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # whatever the code of a module does with a value that is not there
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            self.module_stack = stack
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


class Thinning:
    """A traced copy of a network on its way to fewer channels."""

    def __init__(self, network: nn.Module, masks: Masks) -> None:
        self.put_back: list[str] = []
        self._masks = masks
        self._model = _masked(network, masks)
        try:
            self._graph = Tracer().trace(self._model)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise ModelError(f"torch.fx cannot trace the network, so it cannot be thinned ({reason})") from error
        self._calls = Counter(node.target for node in self._graph.nodes if node.op == "call_module")
        self._values: dict[fx.Node, Value] = {}

    def result(self) -> nn.Module:
        """The thin network, in evaluation mode."""
        for node in list(self._graph.nodes):
            self._values[node] = self._passed(node) or self._whole(node)
        self._graph.lint()
        return fx.GraphModule(self._model, self._graph).eval()

    def _passed(self, node: fx.Node) -> Value | None:
        """What comes out of a node whose inputs may have fewer channels; None if it needs all of them."""
        if node.op == "call_module":
            return self._module(node, self._model.get_submodule(str(node.target)))
        if node.op not in ("call_function", "call_method") or not node.args:
            return None
        if node.target in SUMS:
            return self._joined(node, torch.logical_or)
        if node.target in PRODUCTS:
            return self._joined(node, torch.logical_and)
        if node.target is torch.cat:
            return self._concatenated(node)
        return self._unary(node) if node.args[:1] == tuple(node.all_input_nodes) else None

    def _unary(self, node: fx.Node) -> Value | None:
        value = self._values[node.all_input_nodes[0]]
        options, named = cast(tuple[Any, ...], node.args[1:]), cast(dict[str, Any], node.kwargs)
        if node.target in ELEMENTWISE_CALLS:
            return value
        if node.target in GATE_CALLS:
            return self._gate(node, value)
        if node.target in POOLING_CALLS:
            return pooled(value)
        if node.target in MEANS:
            return averaged(value, *options, **named)
        return flattened(value, *options, **named) if node.target in FLATTENINGS else None

    def _module(self, node: fx.Node, module: nn.Module) -> Value | None:
        if node.args != tuple(node.all_input_nodes) or len(node.args) != 1:
            return None
        value = self._values[node.all_input_nodes[0]]
        if isinstance(module, nn.Flatten):
            return flattened(value, module.start_dim, module.end_dim)
        if isinstance(module, POOLS):
            return pooled(value)
        if isinstance(module, ELEMENTWISE):
            return value
        if isinstance(module, GATES):
            return self._gate(node, value)
        if self._calls[node.target] > 1:
            return None
        if isinstance(module, PRUNABLE) and (f"{node.target}.weight" in self._masks or type(module) in PRUNABLE):
            return self._layer(node, module)
        return self._norm(node, module, value) if isinstance(module, NORMS) else None

    def _layer(self, node: fx.Node, layer: Any) -> Value | None:
        value = self._values[node.all_input_nodes[0]]
        linear, groups = isinstance(layer, nn.Linear), getattr(layer, "groups", 1)
        dimensions = value.dimensions if linear else layer.weight.dim()
        fits = (value.axis == -1 or dimensions == 2) if linear else value.dimensions == dimensions
        if groups > 1:
            return self._depthwise(node, layer, value) if fits else None
        if not fits or not covers(value, layer.weight.shape[1]):
            self._whole(node)
            value = Value(None, -1 if linear else 1)
        have = over(value, layer.weight)
        unread = layer.weight.detach().transpose(0, 1).flatten(1).count_nonzero(1) == 0
        columns = some(have & ~unread)
        self._fit(node, node.all_input_nodes[0], replace(value, alive=have, flat=False), columns)
        rows = written(layer, columns)
        if any(user.op == "output" for user in node.users):
            rows = torch.ones_like(rows)
        shrink_layer(layer, rows, columns)
        return Value(rows, 1 if not linear or dimensions == 2 else -1, dimensions)

    def _depthwise(self, node: fx.Node, layer: Any, value: Value) -> Value | None:
        if value.alive is None or not layer.groups == layer.in_channels == layer.out_channels:
            return None
        rows = written(layer, torch.ones(1, dtype=torch.bool))
        channels = some(rows & (value.alive if layer.bias is None else value.alive | (layer.bias != 0)))
        self._fit(node, node.all_input_nodes[0], value, channels)
        shrink_depthwise(layer, channels)
        return replace(value, alive=channels)

    def _norm(self, node: fx.Node, norm: Any, value: Value) -> Value | None:
        state = {*NORM_TENSORS, "num_batches_tracked"}
        if not covers(value, norm.num_features) or value.axis != 1 or not norm.affine or set(norm.state_dict()) - state:
            return None
        have = over(value, norm.weight[None])
        channels = have | shift_of_zeros(norm)
        before = replace(value, alive=have, flat=False)
        self._fit(node, node.all_input_nodes[0], before, channels)
        shrink_norm(norm, channels)
        return replace(before, alive=channels)

    def _gate(self, node: fx.Node, value: Value) -> Value:
        """A function of each element that makes something else of zeros."""
        self._whole(node)
        return value if value.alive is None else replace(value, alive=torch.ones_like(value.alive))

    def _joined(self, node: fx.Node, join: Callable[[Tensor, Tensor], Tensor]) -> Value | None:
        """A sum or product of two values channel by channel."""
        if not all(isinstance(argument, fx.Node) for argument in node.args[:2]) or len(node.args) != 2 or node.kwargs:
            return None
        sources = cast(tuple[fx.Node, fx.Node], node.args)
        one, other = (self._values[source] for source in sources)
        if one.alive is None or other.alive is None or replace(one, alive=None) != replace(other, alive=None):
            return None
        if len(one.alive) != len(other.alive):
            return None
        channels = some(join(one.alive, other.alive))
        for source, value in zip(sources, (one, other), strict=True):
            self._fit(node, source, value, channels)
        return replace(one, alive=channels)

    def _concatenated(self, node: fx.Node) -> Value | None:
        sources, axis = node.args[0], node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        values = [self._values[source] for source in cast(list[fx.Node], sources)]
        if axis != 1 or any(value.alive is None or value.axis != 1 or value.flat for value in values):
            return None
        return replace(values[0], alive=torch.cat([cast(Tensor, value.alive) for value in values]))

    def _whole(self, node: fx.Node) -> Value:
        """Puts back all channels of a node's inputs, as zeros."""
        for source in node.all_input_nodes:
            value = self._values[source]
            if value.alive is not None and not bool(value.alive.all()):
                self.put_back.append(f"{source} → {node}")
                self._fit(node, source, value, torch.ones_like(value.alive))
        return Value()

    def _fit(self, node: fx.Node, source: fx.Node, value: Value, channels: Tensor) -> None:
        """Gives a node these channels of an input that has those of `value`."""
        assert value.alive is not None
        if torch.equal(value.alive, channels):
            return
        name = f"rearranged_{sum(1 for path, _ in self._model.named_children() if path.startswith('rearranged_'))}"
        self._model.add_module(name, Rearranged(value.alive, channels, value.axis))
        with self._graph.inserting_before(node):
            if value.flat:
                source_blocks = self._graph.call_method("unflatten", (source, 1, (int(value.alive.sum()), -1)))
                fitted = self._graph.call_method("flatten", (self._graph.call_module(name, (source_blocks,)), 1))
            else:
                fitted = self._graph.call_module(name, (source,))
        node.replace_input_with(source, fitted)
        self._values[fitted] = replace(value, alive=channels)


@torch.no_grad()
def _masked(network: nn.Module, masks: Masks) -> nn.Module:
    model = copy.deepcopy(network).eval()
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        parameters[name].mul_(mask.to(parameters[name].device))
    return model
