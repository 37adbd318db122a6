"""Options that fit a timm model to small images and to pruning at initialisation; needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, for pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError("mean and std go together, each with a number for every channel")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ValueError(f"mean and std must be finite numbers, std above 0; found {self.mean} and {self.std}")


@dataclass(frozen=True)
class Adapters:
    """Options that fit a timm model to its use; an option that the model function has itself goes to that function.

    `stem`: "cifar" removes the first downsamplings until the last feature map is at least 4×4 (`cifar_stem.py`).
    `zero_init_last`: False starts norm scales at one that would start at zero.
    `zero_init_head`: False draws an output layer that would start at zero from a normal distribution of deviation 0.02,
    truncated at ±0.04.
    `layer_scale`: the value at which LayerScale and its like start (`zero_init.py`).
    `keep`: the layers that are kept dense, that is, not pruned (`layer_roles.py`).
    `weights`: what identifies a file of weights that every seed starts from (`weights.py`, `loading.py`).
    `weights_from`: "timm" reads the file as timm reads its own checkpoints (`checkpoints.py`, `pretrained.py`).
    `normalisation`: that of the images that the network sees; None takes the data set's.
    `output_layer`: "new" leaves the file's output layer out and draws another one for every seed.
    """

    stem: Literal["own", "cifar"] = "own"
    zero_init_last: bool = True
    zero_init_head: bool = True
    layer_scale: float | None = None
    keep: tuple[Literal["first", "output", "depthwise"], ...] = ()
    weights: str = ""
    weights_from: Literal["file", "timm"] = "file"
    normalisation: Normalisation | None = None
    output_layer: Literal["own", "new"] = "own"

    def __post_init__(self) -> None:
        if self.layer_scale is not None and not (math.isfinite(self.layer_scale) and self.layer_scale > 0):
            raise ValueError(f"layer_scale must be a finite number above 0, found {self.layer_scale}")
        if self.weights and not re.fullmatch("sha256:[0-9a-f]{64}", self.weights):
            raise ValueError("weights stand beside the arguments of a suite's model, as in weights = 'PATH'")
        if self.weights_from == "timm" and not self.weights:
            raise ValueError("timm's checkpoint is asked for beside the arguments of a model, by pretrained = true")
        if self.output_layer == "new" and not self.weights:
            raise ValueError("output_layer = 'new' replaces that of a file; name it by weights = 'PATH'")
        if self.weights and (changed := self._overwritten()):
            raise ValueError(f"{changed} changes how a network starts, but weights come from a file; leave it out")

    def _overwritten(self) -> str:
        """The option, if there is one, whose effect the weights of a file undo."""
        if self.layer_scale is not None:
            return "layer_scale"
        if not self.zero_init_last:
            return "zero_init_last"
        return "" if self.zero_init_head or self.output_layer == "new" else "zero_init_head"


def split(arguments: Mapping[str, Any], own: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's adapter options, and the arguments of its function, which has the parameters `own`.

    `zero_init_last = true` goes to the function: only models that have this option start without it.
    """
    names = {f.name for f in fields(Adapters)} - set(own)
    options = {
        name: value
        for name, value in arguments.items()
        if name in names and not (name == "zero_init_last" and value is True)
    }
    return options, {name: value for name, value in arguments.items() if name not in options}
