"""Thin networks by hand: what loses channels, what keeps them, and that outputs stay as they were."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from lth_bench.errors import ModelError
from lth_bench.export.thin import thin, thinned
from lth_bench.models.layer_roles import prunable
from lth_bench.pruning.channels import chosen, gates, structure
from lth_bench.pruning.masks import full, kept

KEPT = torch.tensor([True, False, True, False])
SHAPE = (2, 6, 6)


class Chain(nn.Module):
    """A convolution of four channels, and one or more layers behind it that `forward` of a case names."""

    def __init__(self, **layers):
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding=1)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.fc = nn.Linear(4, 3)

    def head(self, x):
        return self.fc(x.mean((2, 3)))


class Norm(Chain):
    """Batch norm of which channel 1 shifts zeros to other values, so that this channel has to stay."""

    def __init__(self):
        super().__init__(norm=nn.BatchNorm2d(4), two=nn.Conv2d(4, 4, 3))
        self.norm.bias.data.copy_(torch.tensor([0.1, 0.2, 0.3, 0.0]))
        self.norm.running_mean[0] = 0.7

    def forward(self, x):
        return self.head(self.two(self.norm(self.one(x)).relu()))


class Sum(Chain):
    """A sum of channels 0 and 2 with 1 and 2: three channels remain, one of them from both sides."""

    def __init__(self):
        super().__init__(two=nn.Conv2d(2, 4, 1), three=nn.Conv2d(4, 4, 3))
        only_these(self.two, torch.tensor([False, True, True, False]))

    def forward(self, x):
        return self.head(self.three(functional.relu(self.one(x) + self.two(x))))


class Gate(Chain):
    """Squeeze and excite: sigmoid makes ½ of a removed channel, which the product with a zero undoes."""

    def __init__(self):
        super().__init__(squeeze=nn.Conv2d(4, 4, 1), two=nn.Conv2d(4, 4, 3))
        only_these(self.squeeze, torch.tensor([True, True, False, False]))

    def forward(self, x):
        x = self.one(x)
        return self.head(self.two(x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()))


class Depthwise(Chain):
    def __init__(self):
        super().__init__(two=nn.Conv2d(4, 4, 3, groups=4, bias=False), three=nn.Conv2d(4, 4, 1))

    def forward(self, x):
        return self.head(self.three(self.two(self.one(x))))


class Grouped(Chain):
    """Two groups of two channels stay whole; the convolution behind reads all of them."""

    def __init__(self):
        super().__init__(two=nn.Conv2d(4, 4, 3, groups=2))

    def forward(self, x):
        return self.head(self.two(self.one(x)))


class Blocks(Chain):
    """Flattened maps of 3×3 pixels: nine inputs of the linear layer go with each channel, and with its batch norm."""

    def __init__(self):
        super().__init__(norm=nn.BatchNorm1d(36), two=nn.Linear(36, 4))

    def forward(self, x):
        return self.fc(self.two(self.norm(functional.max_pool2d(self.one(x), 2).flatten(1))))


class Joined(Chain):
    """Concatenated with itself."""

    def __init__(self):
        super().__init__(two=nn.Conv2d(8, 4, 1))

    def forward(self, x):
        x = self.one(x)
        return self.head(self.two(torch.cat([x, functional.gelu(x)], 1)))


class Unknown(Chain):
    """Softmax over channels makes something of zeros, so they come back in front of it."""

    def __init__(self):
        super().__init__(two=nn.Conv2d(4, 4, 1))

    def forward(self, x):
        return self.head(self.two(self.one(x).softmax(1)))


class Twice(Chain):
    """A layer that is called twice keeps all its weights."""

    def __init__(self):
        super().__init__(two=nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x):
        return self.head(self.two(self.two(self.one(x))))


class Branch(nn.Module):
    """Cannot be traced: it looks at its input."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.layer(x + 1)
        return y if x.sum() > 0 else -y


class Untraced(Chain):
    """A module that cannot be traced stays whole, and the rest does not."""

    def __init__(self):
        super().__init__(two=nn.Conv2d(4, 4, 1), branch=Branch(), three=nn.Conv2d(4, 4, 1))
        only_these(self.two, KEPT)

    def forward(self, x):
        return self.head(self.three(self.branch(self.two(self.one(x)))))


class Tokens(Chain):
    """A linear layer on pixels, which are tokens here, as in a transformer."""

    def __init__(self):
        super().__init__(two=nn.Linear(4, 4), three=nn.Linear(4, 4), norm=nn.LayerNorm(4))
        only_these(self.two, torch.tensor([False, False, True, True]))

    def forward(self, x):
        x = self.one(x).flatten(2).transpose(1, 2)
        return self.fc(self.norm(x + self.three(functional.gelu(self.two(x)))).mean(1))


@torch.no_grad()
def only_these(layer, channels):
    layer.weight[~channels] = 0
    layer.bias[~channels] = 0


# The layers' weights that remain: of the first, 2 of 4 filters of 2·3·3; of the last, 3 classes × 4 unless noted.
CASES = {
    Norm: {"one": 36, "two": 4 * 3 * 9, "fc": 12},
    Sum: {"one": 36, "two": 2 * 2, "three": 4 * 3 * 9, "fc": 12},
    Gate: {"one": 36, "squeeze": 2 * 2, "two": 4 * 2 * 9, "fc": 12},
    Depthwise: {"one": 36, "two": 2 * 9, "three": 4 * 2, "fc": 12},
    Grouped: {"one": 36, "two": 4 * 2 * 9, "fc": 12},
    Blocks: {"one": 36, "two": 4 * 18, "fc": 12},
    Joined: {"one": 36, "two": 4 * 4, "fc": 12},
    Unknown: {"one": 36, "two": 16, "fc": 12},
    Twice: {"one": 36, "two": 4 * 4 * 9, "fc": 12},
    Untraced: {"one": 36, "two": 2 * 2, "branch.layer": 16, "three": 16, "fc": 12},
    Tokens: {"one": 36, "two": 2 * 4, "three": 4 * 2, "fc": 12},
}
PUT_BACK = {Grouped, Unknown, Twice, Gate, Tokens, Untraced}


def outputs(network, shape=SHAPE):
    images = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        return network.double().eval()(images)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_thin_network_has_the_weights_that_matter_and_computes_the_same(case):
    torch.manual_seed(0)
    network = case()
    only_these(network.one, KEPT)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = thinned(network, full(prunable(network)), {"one.weight": KEPT})
    assert {name.removesuffix(".weight"): weight.numel() for name, weight in prunable(result.network).items()} == CASES[
        case
    ]
    assert bool(result.put_back) == (case in PUT_BACK)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    torch.testing.assert_close(outputs(result.network), outputs(network), rtol=0, atol=1e-12)


def test_masks_hold_where_the_weights_are_not_zero_yet():
    network = Depthwise()
    only_these(network.one, KEPT)
    weights = network.one.weight.detach().clone()
    masks = full(prunable(network))
    masks["one.weight"][~KEPT] = False
    network.one.weight.data[~KEPT] = 1.0
    result = thin(network, masks, {"one.weight": KEPT})
    network.one.weight.data.copy_(weights)
    torch.testing.assert_close(outputs(result), outputs(network), rtol=0, atol=1e-12)


def test_a_layer_without_any_channel_keeps_one():
    network = Depthwise()
    only_these(network.one, torch.zeros(4, dtype=torch.bool))
    result = thin(network, full(prunable(network)), {"one.weight": KEPT})
    assert result.one.out_channels == 1
    torch.testing.assert_close(outputs(result), outputs(network), rtol=0, atol=1e-12)


def test_tickets_of_single_weights_and_networks_that_branch_on_values_are_refused():
    network = Depthwise()
    for channels in ({}, {"one.weight": torch.ones(4, dtype=torch.bool)}):
        with pytest.raises(ModelError, match="keeps all channels of every layer"):
            thin(network, full(prunable(network)), channels)

    class Branching(Chain):
        def forward(self, x):
            return self.head(self.one(x) if x.sum() > 0 else -self.one(x))

    with pytest.raises(ModelError, match=r"torch\.fx cannot trace the network"):
        thin(Branching(), full(prunable(Branching())), {"one.weight": KEPT})


@pytest.mark.parametrize(
    ("name", "side"), [("test_resnet", 64), ("test_efficientnet", 64), ("test_vit", 160), ("densenet121", 32)]
)
def test_channels_of_timm_models_go(name, side):
    torch.manual_seed(0)
    network, shape = timm.create_model(name, num_classes=5, in_chans=1).eval(), (1, side, side)
    weights = prunable(network)
    whole = structure(network, weights, shape)
    layers = [layer for layer in weights if "mlp" in layer or (weights[layer].ndim > 2 and "patch" not in layer)]
    channels, masks = chosen(whole, full(weights), {name: torch.rand(len(weights[name])) for name in layers}, 0.3, {})
    with torch.no_grad():
        for parameter, alive in [*((weights[name], mask) for name, mask in masks.items()), *gates(whole, channels)]:
            parameter.mul_(alive)
    result = thin(network, masks, channels)
    assert {layer: weight.numel() for layer, weight in prunable(result).items()} == kept(masks)
    assert not torch.equal(outputs(network, shape)[0], outputs(network, shape)[1])
    torch.testing.assert_close(outputs(result, shape), outputs(network, shape), rtol=0, atol=1e-10)
