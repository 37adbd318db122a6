"""Linear layers as sparse matrices in CSR form, times activations that are stored feature after feature."""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from torch import Tensor, nn

from lth_bench.pruning.masks import Masks
from lth_bench.speed.applicable import NotApplicable, pruned_linear


class SparseLinear(nn.Module):
    """W × X with W in CSR form and activations X as features × examples, which MKL computes row by row.

    The outputs lie in memory in the same way, so that between two such layers nothing is transposed: torch keeps the
    order of elements through activations. The plain call, examples × features times a transposed W, takes up to ten
    times as long.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = _csr(layer.weight.detach())
        self.bias = None if layer.bias is None else layer.bias.detach()[:, None]

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.weight @ inputs.flatten(0, -2).T.contiguous()
        if self.bias is not None:
            outputs += self.bias
        return outputs.T.reshape(*inputs.shape[:-1], -1)


def with_csr(network: nn.Module, masks: Masks) -> nn.Module:
    """The network with its pruned linear layers in CSR form; raises NotApplicable where there are none."""
    sparse = deepcopy(network)
    layers = dict(pruned_linear(sparse, masks))
    if not layers:
        raise NotApplicable("no linear layer of it is pruned")
    if "" in layers:
        return SparseLinear(layers[""])
    for path, layer in layers.items():
        sparse.set_submodule(path, SparseLinear(layer))
    return sparse


def _csr(weight: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        wide = weight.to_sparse_csr()
        indices = wide.crow_indices().int(), wide.col_indices().int()
        return torch.sparse_csr_tensor(*indices, wide.values(), wide.shape, check_invariants=True)
