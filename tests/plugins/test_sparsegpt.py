"""SparseGPT: groups, blocks, inputs and outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.conformance import small_session
from lth_bench.methods.calibration import gram, layer_calls
from lth_bench.pruning import patterns
from lth_bench_plugins.sparsegpt import best, block_counts, operate
from support.networks import make_session
from support.pairs import kept, pruner


def session_of(*layers, inputs, **target):
    return small_session(lambda: nn.Sequential(*layers), inputs, torch.arange(len(inputs)) % 2, **target)


def test_a_group_is_chosen_by_weights_that_the_columns_before_it_have_changed():
    # Inputs 2 and 3 are the same, so that 0.9 of the first group moves to 0.4 of the second, which then beats 1.
    inputs = torch.tensor([[0.0, 1, 1, 0], [5, 0, 0, 0], [0, 0, 0, 1]]).double()
    matrix = torch.tensor([[[3.0, 0.9, 0.4, 1.0]]]).double()
    upper, _ = pruner("sparsegpt", {"damping": 1e-9}).factor((inputs.T @ inputs)[None], matrix, 0)
    mask = operate(matrix, upper, 4, 2, lambda costs, start: best(costs, 1))
    assert mask.tolist() == [[[True, False, True, False]]]
    assert matrix.tolist() == [[pytest.approx([3, 0, 1.3, 0])]]


@pytest.mark.parametrize("columns", [1, 7, 128])
@pytest.mark.parametrize("sparsity", [0.123, 0.5, 0.97])
def test_the_target_is_hit_to_one_weight_and_blocks_lose_the_same_share(sparsity, columns):
    session = make_session(sparsity=sparsity)
    pruner("sparsegpt", {"examples": 8, "columns": columns})(session)
    assert kept(session) == round((1 - sparsity) * 312)
    for weight in session.weights.values():
        counts = block_counts(weight[None], columns, sparsity)
        shares = [(1 - sparsity) * block.numel() for block in weight.split(columns, dim=1)]
        assert sum(counts.values()) == round((1 - sparsity) * weight.numel())
        assert all(abs(count - share) <= 1 for count, share in zip(counts.values(), shares, strict=True))


def seen(session, batch, name):
    return gram(session, [batch], name, layer_calls(session, batch))


@pytest.mark.parametrize("inputs", ["pruned", "dense"])
def test_layers_see_the_pruned_layers_before_them_or_the_dense_network(inputs):
    session = make_session(sparsity=0.75)
    session.train()
    sparsegpt, batch = pruner("sparsegpt", {"examples": 8, "inputs": inputs}), session.sample(8)
    before = {name: weight.detach().clone() for name, weight in session.weights.items()}
    dense = seen(session, batch, "fc3.weight")
    sparsegpt.prune_all(session)
    pruned = seen(session, batch, "fc3.weight")
    assert not torch.allclose(pruned, dense)
    last = session_of(nn.Linear(8, 3, bias=False), inputs=torch.zeros(8, 8), sparsity=0.75)
    last.weights["0.weight"].data = before["fc3.weight"]
    mask, _ = sparsegpt.prune_layer(last, "0.weight", {"pruned": pruned, "dense": dense}[inputs] / 4, 0.75)
    assert torch.equal(mask, session.masks["fc3.weight"])
    assert torch.allclose(last.weights["0.weight"], session.weights["fc3.weight"], atol=1e-6)


def test_outputs_change_less_than_by_removing_the_smallest_weights():
    torch.manual_seed(0)
    layer, inputs = nn.Linear(32, 16, bias=False), torch.randn(64, 8) @ torch.randn(8, 32) + 0.1 * torch.randn(64, 32)
    before, outputs = layer.weight.detach().clone(), layer(inputs).detach()
    session = session_of(layer, inputs=inputs)
    pruner("sparsegpt", {"examples": 64})(session)
    smallest = before.abs().flatten().argsort()[:256]
    plain = before.flatten().index_fill(0, smallest, 0).view_as(before)
    assert (layer(inputs) - outputs).norm() < 0.5 * (inputs @ plain.T - outputs).norm()


@pytest.mark.parametrize("columns", [1, 6, 128])
def test_a_pattern_groups_input_channels_at_one_place_of_the_kernel(columns):
    torch.manual_seed(0)
    conv, images = nn.Conv2d(8, 4, 3, groups=2, bias=False), torch.randn(6, 8, 5, 5)
    session = session_of(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), inputs=images, pattern="2:4")
    pruner("sparsegpt", {"examples": 6, "columns": columns}).prune_all(session)
    assert conv.weight.count_nonzero(1).eq(2).all()
    assert patterns.breach(session.masks, session.pattern) is None


def test_layers_that_cannot_hold_a_pattern_stay_as_they_are():
    first, second = nn.Linear(6, 4, bias=False), nn.Linear(4, 2, bias=False)
    before, session = first.weight.detach().clone(), session_of(first, second, inputs=torch.randn(4, 6), pattern="2:4")
    pruner("sparsegpt", {"examples": 4}).prune_all(session)
    assert torch.equal(first.weight, before)
    assert second.weight.count_nonzero(1).tolist() == [2, 2]
