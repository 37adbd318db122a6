"""timm's own checkpoints, as weights of a model: renamed and fitted to its images by timm."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import timm
import torch

from lth_bench.errors import ModelError
from lth_bench.experiments.experiment import Choice
from lth_bench.models.loading import State
from lth_bench.models.networks import arguments_of
from lth_bench.models.timm_models import make_model
from lth_bench.randomness import seeded


def translated(weights: State, model: Choice, shape: Sequence[int]) -> State:
    """The weights of timm's checkpoint as timm loads them into a model for images of `shape`, C×H×W.

    timm renames them, fits the first convolution to other channels, and resizes embeddings of positions. The output
    layer stays the checkpoint's. Weights that timm cannot load stay as they are; what timm would draw is left out.
    """
    if timm.get_pretrained_cfg(model.name, allow_unregistered=True) is None:
        return weights
    with suppress(ModelError):
        one, other = (_loaded(weights, model, shape, seed) for seed in (0, 1))
        return {name: value for name, value in one.items() if _same(value, other[name])}
    return weights


def _loaded(weights: State, model: Choice, shape: Sequence[int], seed: int) -> State:
    about: Any = timm.get_pretrained_cfg(model.name)
    loading = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(weights)}}
    with seeded(seed):
        return make_model(model.name, {**arguments_of(model), **loading}, shape, about.num_classes).state_dict()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())
