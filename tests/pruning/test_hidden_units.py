"""Hidden units: which weights change places together, with shortcuts and without, and how units are matched."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import timm
import torch
from torch import nn

from lth_bench.errors import Unsuitable
from lth_bench.experiments.plugins import load_plugins
from lth_bench.models.layer_roles import prunable
from lth_bench.models.modes import mode
from lth_bench.models.timm_models import register_models
from lth_bench.pruning.alignment import likeness, matched
from lth_bench.pruning.hidden_units import hidden_units, permuted
from support.networks import network, states_equal

register_models(load_plugins().models.items)


class Residual(nn.Module):
    """Two convolutions whose outputs add up, one more whose output goes beside them, and a classifier of a 2×2 map."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1, bias=False)
        self.norm, self.back = nn.BatchNorm2d(5), nn.Conv2d(5, 4, 1)
        self.beside, self.head = nn.Conv2d(1, 3, 1), nn.Linear(28, 2)

    def forward(self, x):
        trunk = self.stem(x).relu()
        trunk = trunk + self.back(self.norm(self.inner(trunk)).relu())
        both = torch.cat([trunk, self.beside(x)], dim=1)
        return self.head(nn.functional.adaptive_avg_pool2d(both, 2).flatten(1))


def uses(units):
    return sorted((use.tensor, use.axis) for use in units.uses)


def shuffled(model, shape, seed=0):
    """The groups of a network, random orders of them, and its state in these orders."""
    groups, draws = hidden_units(model, shape), torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(units), generator=draws) for units in groups]
    return groups, orders, permuted(model.state_dict(), groups, orders)


def made(name, shape, **arguments):
    torch.manual_seed(0)
    model = timm.create_model(name, in_chans=shape[0], num_classes=10, **arguments)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model


def test_units_have_all_that_goes_with_them():
    groups = hidden_units(network(0), (1, 4, 4))
    assert [len(units) for units in groups] == [12, 8]
    norm = [(f"norm.{name}", 0) for name in ("bias", "running_mean", "running_var", "weight")]
    assert uses(groups[0]) == [("fc1.bias", 0), ("fc1.weight", 0), ("fc2.weight", 1), *norm]
    assert uses(groups[1]) == [("fc2.bias", 0), ("fc2.weight", 0), ("fc3.weight", 1)]
    assert [use.tensor for use in groups[0].uses if not use.is_learned] == ["norm.running_mean", "norm.running_var"]


def test_what_adds_up_is_one_unit_and_what_stands_beside_is_another():
    trunk, inner, beside = hidden_units(Residual(), (1, 6, 6))
    assert [len(units) for units in (trunk, inner, beside)] == [4, 5, 3]
    assert {"stem.weight", "back.weight", "stem.bias", "back.bias"} <= {use.tensor for use in trunk.uses}
    assert uses(beside) == [("beside.bias", 0), ("beside.weight", 0), ("head.weight", 1)]
    places = {use.tensor: use.places.tolist() for use in beside.uses}["head.weight"]
    assert places == [[16, 17, 18, 19], [20, 21, 22, 23], [24, 25, 26, 27]], (
        "a channel is four inputs of the classifier"
    )


MODELS = [
    ("lenet_300_100", (1, 28, 28), {}),
    ("lenet_5", (1, 28, 28), {"norm": True}),
    ("cifar_resnet20", (3, 32, 32), {}),
    ("wrn_22_2", (3, 32, 32), {}),
    ("resnet10t", (3, 32, 32), {}),
]


@pytest.mark.parametrize(("name", "shape", "arguments"), MODELS, ids=[name for name, *_ in MODELS])
def test_a_network_computes_the_same_in_another_order_and_is_brought_back_exactly(name, shape, arguments):
    model, images = made(name, shape, **arguments), torch.randn(3, *shape)
    groups, _, other = shuffled(model, shape)
    covered = {use.tensor for units in groups for use in units.uses}
    assert {layer for layer, weight in prunable(model).items() if weight.dim() > 1} <= covered
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad(), mode(model, training=False):
        answers = model(images)
        model.load_state_dict(other)
        assert torch.allclose(model(images), answers, rtol=1e-3, atol=1e-4)
    assert not states_equal(other, before) and likeness(groups, other, before) < 0.9
    back = permuted(other, groups, matched(groups, other, before, torch.Generator().manual_seed(1)))
    assert states_equal(back, before)


def test_permuted_moves_masks_as_weights_and_keeps_their_counts():
    model = network(0)
    groups, orders, _ = shuffled(model, (1, 4, 4))
    masks = {name: torch.rand(weight.shape) < 0.3 for name, weight in model.named_parameters() if weight.dim() == 2}
    moved = permuted(masks, groups, orders)
    assert torch.equal(moved["fc2.weight"], masks["fc2.weight"][orders[1]][:, orders[0]])
    assert {name: int(mask.sum()) for name, mask in moved.items()} == {k: int(mask.sum()) for k, mask in masks.items()}
    channels = permuted({"fc1.weight": torch.arange(12) < 3}, groups, orders)
    assert torch.equal(channels["fc1.weight"], orders[0] < 3)


def test_matching_by_hand():
    model = nn.Sequential(OrderedDict(flat=nn.Flatten(), a=nn.Linear(2, 3, bias=False), b=nn.Linear(3, 1, bias=False)))
    groups = hidden_units(model, (1, 1, 2))
    a, b = torch.tensor([[1.0, 0], [0, 1], [2, 2]]), torch.tensor([[1.0, 1, 1]])
    target = {"a.weight": torch.tensor([[2.0, 1], [0, 3], [1, 0]]), "b.weight": b}
    (order,) = matched(groups, {"a.weight": a, "b.weight": b}, target, torch.Generator())
    # Products of target and rows: (2, 1, 6), (0, 3, 6), (1, 0, 2), with 1 for b; 6 + 3 + 1 is the most.
    assert order.tolist() == [2, 1, 0]


def attention(dim=8):
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.mix = nn.Linear(4, dim), nn.MultiheadAttention(dim, 2, batch_first=True)
            self.head = nn.Linear(dim, 3)

        def forward(self, x):
            x = self.stem(x.flatten(1, 2))
            return self.head(self.mix(x, x, x)[0].mean(1))

    return Attending()


def convolutions(**options):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, **options), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def normed():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.LayerNorm(6), nn.Linear(6, 5), nn.Linear(5, 2))


class Scaled(nn.Module):
    """A hidden layer whose units are multiplied by a parameter that no layer has, or less their mean."""

    def __init__(self, *, scaled):
        super().__init__()
        self.a, self.scale, self.b = nn.Linear(16, 6), nn.Parameter(torch.ones(6)), nn.Linear(6, 2)
        self.scaled = scaled

    def forward(self, x):
        hidden = self.a(x.flatten(1)).relu()
        return self.b(hidden * self.scale if self.scaled else hidden - hidden.mean(1, keepdim=True))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (attention(), "'head.weight' sees more than the image and what other layers put out"),
        (convolutions(groups=2), "'1.weight' is a grouped convolution"),
        (normed(), "'3.weight' sees more than the image and what other layers put out"),
        (Scaled(scaled=False), "'a.weight' puts out channels that 'b.weight' does not see one by one"),
        (Scaled(scaled=True), "'a.weight' or a later one does more to its channels than pass them on"),
    ],
)
def test_units_that_cannot_change_places_are_refused(model, words):
    with pytest.raises(Unsuitable, match=words):
        hidden_units(model, (1, 4, 4))
    assert len(hidden_units(convolutions(), (1, 4, 4))) == 2


def test_a_network_without_hidden_layers_has_no_hidden_units():
    assert hidden_units(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (1, 4, 4)) == []


def test_the_transformers_of_timm_are_refused():
    with pytest.raises(
        Unsuitable, match=r"cannot be told, as layer .* take a network of linear and convolution layers"
    ):
        hidden_units(timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=3, depth=1), (3, 32, 32))
