"""Curvature on the mask against the whole Hessian of a network of 50 weights, and on functions done by hand."""

import pytest
import timm
import torch
from torch import nn
from torch.func import functional_call, hessian
from torch.nn.functional import cross_entropy

from lth_bench.data.examples import Batch
from lth_bench.randomness import generator
from lth_bench_plugins.hessians import Surface, largest_eigenvalue, sharpness, trace

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch.func's own


def network_of_50():
    """Two layers of 25 weights with batch norm between them, in double precision, off its optimum."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5)).double()
    network[1](torch.randn(64, 5, dtype=torch.float64) * 2 + 1)  # running statistics of their own
    return network.train()


def batches(count, sizes=(30, 10)):
    inputs, labels = torch.randn(count, 5, dtype=torch.float64), torch.arange(count) % 5
    return [Batch(*pair) for pair in zip(inputs.split(sizes), labels.split(sizes), strict=True)]


def surface(share=0.5):
    network = network_of_50()
    names = ["0.weight", "3.weight"]
    masks = {name: torch.rand(5, 5) < share for name in names}
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
    return Surface(network, masks, batches(40))


def whole_hessian(ground):
    """The Hessian over all 50 weights by `torch.func.hessian`, and which of them the masks keep."""
    network, names = ground.network.eval(), list(ground.masks)
    inputs, labels = (torch.cat(parts) for parts in zip(*ground.batches, strict=True))

    def loss(weights):
        given = dict(zip(names, weights.view(2, 5, 5), strict=True))
        return cross_entropy(functional_call(network, given, (inputs,)), labels)

    point = torch.cat([network.get_parameter(name).detach().flatten() for name in names])
    matrix = hessian(loss)(point).detach()
    network.train()
    return matrix, torch.cat([ground.masks[name].flatten() for name in names])


def test_products_are_those_of_the_hessian_on_the_mask():
    ground = surface()
    matrix, kept = whole_hessian(ground)
    part = matrix[kept][:, kept]
    columns = torch.stack([ground.product(unit) for unit in torch.eye(len(part), dtype=torch.float64)])
    assert torch.allclose(columns, part, atol=1e-12)
    assert ground.network.training


def test_the_trace_is_that_on_the_mask_and_not_that_of_all_weights():
    ground = surface(share=0.3)
    matrix, kept = whole_hessian(ground)
    estimate, error = trace(ground, generator(0, "vectors"))
    on_mask, everywhere = float(matrix.diagonal()[kept].sum()), float(matrix.trace())
    assert abs(estimate - on_mask) < 3 * error < abs(everywhere - on_mask)
    unmasked = Surface(ground.network, {name: mask | True for name, mask in ground.masks.items()}, ground.batches)
    other, error = trace(unmasked, generator(0, "vectors"))
    assert abs(other - everywhere) < 3 * error and other > 2 * estimate


def test_the_largest_eigenvalue_is_that_on_the_mask():
    ground = surface()
    matrix, kept = whole_hessian(ground)
    largest = float(torch.linalg.eigvalsh(matrix[kept][:, kept])[-1])
    assert largest_eigenvalue(ground, generator(0, "vectors")) == pytest.approx(largest, rel=0.02)
    assert float(torch.linalg.eigvalsh(matrix)[-1]) > 1.1 * largest


class Quadratic(nn.Module):
    """Two classes whose loss has a known Hessian where both outputs are equal: outputs are ± the sum of weights."""

    def __init__(self, weights):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weights], dtype=torch.float64))

    def forward(self, inputs):
        lead = (inputs * self.weight).sum(1)
        return torch.stack([lead, -lead], dim=1)


def quadratic(weights, inputs, kept=(True, True)):
    """Each input counts once for either class, so that the slope at weights 0 is 0 and the Hessian the mean of x xᵀ."""
    rows = torch.tensor(inputs, dtype=torch.float64).repeat_interleave(2, 0)
    batch = Batch(rows, torch.arange(len(rows)) % 2)
    return Surface(Quadratic(weights), {"weight": torch.tensor([kept])}, [batch])


def test_curvature_of_a_diagonal_hessian_by_hand():
    ground = quadratic([0.0, 0.0], [[2.0, 0.0], [0.0, 1.0]])
    assert trace(ground, generator(0)) == pytest.approx((2.5, 0))
    assert largest_eigenvalue(ground, generator(0)) == pytest.approx(2, rel=1e-3)
    alone = quadratic([0.0, 0.0], [[2.0, 0.0], [0.0, 1.0]], kept=(False, True))
    assert trace(alone, generator(0)) == pytest.approx((0.5, 0))
    assert largest_eigenvalue(alone, generator(0)) == pytest.approx(0.5)


class Saddle(Quadratic):
    """Outputs are ± the sum of inputs times squares of weights: at weights 0 the Hessian of class 0 is -2 x."""

    def forward(self, inputs):
        lead = (inputs * self.weight**2).sum(1)
        return torch.stack([lead, -lead], dim=1)


def test_the_largest_eigenvalue_is_found_beside_a_negative_one_of_larger_size():
    batch = Batch(torch.tensor([[1.5, -0.5]], dtype=torch.float64), torch.tensor([0]))
    ground = Surface(Saddle([0.0, 0.0]), {"weight": torch.tensor([[True, True]])}, [batch])
    assert trace(ground, generator(0)) == pytest.approx((-2, 0))
    assert largest_eigenvalue(ground, generator(0)) == pytest.approx(1, abs=5e-3)


def test_sharpness_is_the_rise_along_the_slope_of_the_kept_weights():
    """At w = (1, 1) with one input (3, 4) of class 0 the slope is along -(3, 4), and the lead falls by 5 a unit."""
    ground = Surface(
        Quadratic([1.0, 1.0]),
        {"weight": torch.tensor([[True, True]])},
        [Batch(torch.tensor([[3.0, 4.0]], dtype=torch.float64), torch.tensor([0]))],
    )

    def loss(lead):
        return float(torch.nn.functional.softplus(torch.tensor(-2 * lead, dtype=torch.float64)))

    assert sharpness(ground, 0.1) == pytest.approx(loss(7 - 0.5) - loss(7))
    assert sharpness(ground, 0.1, steps=20) == pytest.approx(loss(7 - 0.5) - loss(7))
    half = Surface(ground.network, {"weight": torch.tensor([[False, True]])}, ground.batches)
    assert sharpness(half, 0.1) == pytest.approx(loss(4 - 0.4) - loss(4))
    scaled = sharpness(ground, 0.1, scales=ground.filter_norms)
    assert ground.filter_norms.tolist() == pytest.approx([2**0.5] * 2)
    assert scaled == pytest.approx(loss(7 - 0.5 * 2**0.5) - loss(7))


def test_twenty_steps_find_more_than_one_where_the_slope_turns():
    ground = surface()
    one, twenty = (sharpness(ground, 0.5, steps) for steps in (1, 20))
    assert twenty > one > 0


def test_sharpness_by_filter_does_not_depend_on_scales_that_relu_passes_on():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(5, 6, bias=False), nn.ReLU(), nn.Linear(6, 5, bias=False)).double()
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in network.named_parameters()}
    ground = Surface(network, masks, batches(40))
    # A factor on the first layer, divided out in the second, leaves the function as it is.
    before = [sharpness(ground, 0.05, scales=scales) for scales in (None, ground.filter_norms)]
    with torch.no_grad():
        network[0].weight.mul_(5)
        network[2].weight.div_(5)
    after = [sharpness(ground, 0.05, scales=scales) for scales in (None, ground.filter_norms)]
    assert after[1] == pytest.approx(before[1]) and after[0] > 1.5 * before[0]


def test_attention_has_second_derivatives():
    network = timm.create_model("test_vit", img_size=32, num_classes=3)
    weights = {name: weight for name, weight in network.named_parameters() if name.endswith("qkv.weight")}
    batch = Batch(torch.randn(4, 3, 32, 32), torch.arange(4) % 3)
    ground = Surface(network, {name: weight != 0 for name, weight in weights.items()}, [batch])
    assert ground.product(ground.point).isfinite().all()
