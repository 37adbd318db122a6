"""Linear layers of which 2 of each 4 neighbouring weights are zero, for the sparse tensor cores of NVIDIA's GPUs."""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from torch import Tensor, nn

from lth_bench.experiments.patterns import Pattern
from lth_bench.pruning.masks import Masks
from lth_bench.pruning.patterns import excess
from lth_bench.speed.applicable import NotApplicable, pruned_linear

PATTERN = Pattern(2, 4)
CAPABILITY = (8, 0)  # Ampere, the first with sparse tensor cores


def with_two_four(network: nn.Module, masks: Masks) -> nn.Module:
    """The network in float16, its 2:4 layers compressed; raises NotApplicable where there are none, or no kernels."""
    device = next(network.parameters()).device
    if device.type != "cuda":
        raise NotApplicable("it needs a CUDA device")
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        raise NotApplicable(f"{torch.cuda.get_device_name(device)} has no sparse tensor cores")
    sparse = deepcopy(network).half()
    layers = [layer for path, layer in pruned_linear(sparse, masks) if is_two_four(masks[f"{path}.weight"])]
    if not layers:
        raise NotApplicable("no linear layer of it has zeros for 2 of each 4 weights")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*semi-structured|.*SparseSemiStructuredTensor", UserWarning)
        for layer in layers:
            compressed = torch.sparse.to_sparse_semi_structured(layer.weight.detach().contiguous())
            layer.weight = nn.Parameter(compressed, requires_grad=False)
    return sparse


def is_two_four(mask: Tensor) -> bool:
    """Whether a mask, outputs × inputs, keeps at most 2 of each 4 neighbouring inputs."""
    return PATTERN.fits(mask.shape) and not excess(mask, PATTERN)
