"""SparseGPT: which weights go, how the others make up for them, and what it asks of damping and inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.conformance import small_session
from lth_bench.data.examples import Batch
from lth_bench.errors import Diverged
from lth_bench.methods.calibration import gram, layer_calls
from lth_bench.pruning import patterns
from lth_bench_plugins.sparsegpt import best, block_counts, operate
from support.networks import make_session
from support.pairs import kept, pair_session, pruner

IMAGES = Batch(torch.tensor([[1.0, 2.0], [2.0, 0.0]]), torch.zeros(2, dtype=torch.long))


def session_of(*layers, inputs, **target):
    return small_session(lambda: nn.Sequential(*layers), inputs, torch.arange(len(inputs)) % 2, **target)


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [(0.25, [[0, -2 + 2 / 4.9], [3, -4]]), (0.5, [[0, 0], [3, -4]]), (0.75, [[0, 0], [0, -4 + 3 * 2 / 4.9]])],
)
def test_sparsegpt_by_hand(sparsity, expected):
    # H = 2/2 Σxxᵀ = [[5, 2], [2, 4]], and a fifth of the mean diagonal 4.5 on it makes [[5.9, 2], [2, 4.9]]. A weight
    # of the first input costs w² (5.9 - 2²/4.9), one of the second 4.9 w²: 5.1, 19.6, 45.8 and 78.4. Where one of the
    # first goes, 2 / 4.9 of it is added to the weight behind it.
    session, sparsegpt = pair_session(), pruner("sparsegpt", {"damping": 0.2})
    assert gram(session, [IMAGES], "a.weight", ["a.weight", "b.weight"]).tolist() == [[[5, 2], [2, 4]]]
    sparsegpt.prune(session, [IMAGES], [["a.weight"]], dict.fromkeys(session.weights, sparsity))
    assert session.weights["a.weight"].tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
    assert session.masks["a.weight"].tolist() == [[weight != 0 for weight in row] for row in expected]
    assert session.masks["b.weight"].all()


def test_a_group_is_chosen_by_weights_that_the_columns_before_it_have_changed():
    # Inputs 2 and 3 are the same, so that 0.9 of the first group moves to 0.4 of the second, which then beats 1.
    inputs = torch.tensor([[0.0, 1, 1, 0], [5, 0, 0, 0], [0, 0, 0, 1]]).double()
    matrix = torch.tensor([[[3.0, 0.9, 0.4, 1.0]]]).double()
    upper, _ = pruner("sparsegpt", {"damping": 1e-9}).factor((inputs.T @ inputs)[None], matrix, 0)
    mask = operate(matrix, upper, 4, 2, lambda costs, start: best(costs, 1))
    assert mask.tolist() == [[[True, False, True, False]]]
    assert matrix.tolist() == [[pytest.approx([3, 0, 1.3, 0])]]


def test_weights_of_dead_inputs_become_zero():
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 9.0, 2.0]])
    session = session_of(layer, inputs=torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), sparsity=0.3)
    sparsegpt = pruner("sparsegpt", {"examples": 2})
    sparsegpt.prune_all(session)
    assert layer.weight.tolist() == [[1, 0, 2]]
    assert session.masks["0.weight"].tolist() == [[True, False, True]]


def test_a_damping_that_does_not_suffice_grows_and_is_noted():
    session = session_of(nn.Linear(4, 2), inputs=torch.ones(2, 4))
    pruner("sparsegpt", {"examples": 2, "damping": 1e-20})(session)
    assert session.notes["damping"] > 1e-20 and kept(session) == 4
    session = session_of(nn.Linear(4, 2), inputs=torch.ones(2, 4))
    pruner("sparsegpt", {"examples": 2})(session)
    assert "damping" not in session.notes and kept(session) == 4


def test_weights_that_are_not_finite_end_the_experiment():
    session = make_session()
    session.weights["fc2.weight"].data[0, 0] = torch.nan
    with pytest.raises(Diverged, match="not finite"):
        pruner("sparsegpt", {"examples": 2}).prune_all(session)


@pytest.mark.parametrize("value", [0, -1])
def test_no_examples_are_refused(value):
    with pytest.raises(ValueError, match="examples"):
        pruner("sparsegpt", {"examples": value})


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
