"""SparseGPT on single layers: exact counts, groups of channels, and outputs that change less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.conformance import small_session
from lth_bench.data.examples import Batch
from lth_bench.methods.calibration import gram
from support.networks import make_session
from support.pairs import kept, pruner


def session_of(*layers, inputs, **target):
    labels = torch.arange(len(inputs)) % 2
    return small_session(lambda: nn.Sequential(*layers), inputs, labels, **target)


@pytest.mark.parametrize("sparsity", [0.123, 0.5, 0.97])
@pytest.mark.parametrize("columns", [1, 7, 128])
def test_the_target_is_met_to_one_weight_whatever_the_blocks(sparsity, columns):
    session = make_session(sparsity=sparsity)
    pruner("sparsegpt", {"examples": 8, "columns": columns})(session)
    assert kept(session) == round((1 - sparsity) * 312)


@pytest.mark.parametrize("columns", [1, 6, 128])
def test_a_pattern_groups_input_channels_at_one_place_of_the_kernel(columns):
    torch.manual_seed(0)
    conv, images = nn.Conv2d(8, 4, 3, groups=2, bias=False), torch.randn(6, 8, 5, 5)
    before = conv.weight.detach().clone()
    session = session_of(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), inputs=images, pattern="2:4")
    hessian = gram(session, [Batch(images, torch.zeros(6))], "0.weight", ["0.weight"]).double() / 3
    sparsegpt = pruner("sparsegpt", {"examples": 6, "columns": columns})
    sparsegpt(session)
    assert conv.weight.count_nonzero(1).eq(2).all()
    # The first group, that of the kernel's first place, is chosen by the original weights.
    by_place = hessian.view(2, 4, 9, 4, 9).transpose(1, 2).transpose(3, 4).reshape(2, 36, 36)
    damped = by_place + 0.01 * torch.diag_embed(by_place.diagonal(dim1=1, dim2=2).mean(1, keepdim=True).expand(2, 36))
    upper = torch.linalg.cholesky(damped.inverse(), upper=True)
    scale = upper.diagonal(dim1=1, dim2=2)[:, :4].repeat_interleave(2, 0)
    best = (before[:, :, 0, 0] / scale).abs().topk(2, dim=1).indices
    assert session.masks["0.weight"][:, :, 0, 0].gather(1, best).all()


def test_outputs_change_less_than_by_removing_the_smallest_weights():
    torch.manual_seed(0)
    layer, inputs = nn.Linear(32, 16, bias=False), torch.randn(64, 8) @ torch.randn(8, 32) + 0.1 * torch.randn(64, 32)
    before, outputs = layer.weight.detach().clone(), layer(inputs).detach()
    session = session_of(layer, inputs=inputs)
    pruner("sparsegpt", {"examples": 64})(session)
    smallest = before.abs().flatten().argsort()[:256]
    plain = before.flatten().index_fill(0, smallest, 0).view_as(before)
    assert (layer(inputs) - outputs).norm() < 0.5 * (inputs @ plain.T - outputs).norm()
