"""Which weights of timm's models may be pruned, and which models are refused."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.layer_roles import prunable
from lth_bench.models.networks import make_network, prunable_weights
from lth_bench.models.timm_models import register_models
from lth_bench.models.weight_transforms import transformed

SMALL = {
    "resnet18": 32,
    "convnext_atto": 32,
    "mobilenetv3_small_050": 32,
    "vit_tiny_patch16_224": 224,
    "mixer_s32_224": 224,
    "densenet121": 32,
    "regnetx_002": 32,
}


def made(name, **arguments):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **arguments)


@pytest.mark.parametrize("name", SMALL)
def test_all_matrices_of_layers_are_prunable_and_hold_a_mask(name):
    network = made(name)
    named = prunable(network)
    kernels = {name for name, weight in network.named_parameters() if weight.dim() >= 2 and name.endswith("weight")}
    assert set(named) == kernels
    assert transformed(network, torch.randn(2, 3, SMALL[name], SMALL[name])) == []


def test_fused_projections_of_attention_are_prunable():
    qkv = [name for name in prunable(made("vit_tiny_patch16_224")) if name.endswith("attn.qkv.weight")]
    assert len(qkv) == 12
    attention = nn.Sequential(nn.MultiheadAttention(8, 2))
    assert {name: weight.shape for name, weight in prunable(attention).items()} == {
        "0.in_proj_weight": (24, 8),
        "0.out_proj.weight": (8, 8),
    }


@pytest.mark.parametrize("name", ["nfnet_l0", "resnetv2_50x1_bit"])
def test_layers_that_standardise_their_weights_are_found(name):
    network = made(name)
    layers = {f"{n}.weight" for n, module in network.named_modules() if "StdConv" in type(module).__name__}
    assert layers and set(transformed(network, torch.randn(2, 3, 64, 64))) == layers


def kernel_output(layer, inputs, kernel):
    """What a convolution gives with this very kernel."""
    return nn.functional.conv2d(inputs, kernel, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


@pytest.mark.parametrize(("name", "holds"), [("resnet18", True), ("nfnet_l0", False)])
def test_a_mask_zeroes_the_effective_kernel_or_the_model_is_refused(name, holds):
    network = made(name)
    layer = next(m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.padding)
    mask = torch.rand(layer.weight.shape) < 0.5
    inputs = torch.randn(2, layer.in_channels, 8, 8)
    with torch.no_grad():
        wanted = kernel_output(layer, inputs, effective_kernel(layer) * mask)
        layer.weight.mul_(mask)
        assert torch.allclose(layer(inputs), wanted, atol=1e-5) == holds
    images = torch.randn(2, 3, 64, 64)
    assert (transformed(network, images) == []) == holds


def effective_kernel(layer):
    """The kernel that a convolution applies, from what it makes of single pixels."""
    bias, layer.bias = layer.bias, None
    kernel = torch.zeros_like(layer.weight)
    for channel in range(layer.in_channels // layer.groups):
        pixel = torch.zeros(1, layer.in_channels, 5, 5)
        pixel[:, channel :: layer.in_channels // layer.groups, 2, 2] = 1
        stride, layer.stride = layer.stride, (1, 1)
        found = layer(pixel)[0, :, 1:4, 1:4].flip(1, 2)
        layer.stride = stride
        kernel[:, channel] = found
    layer.bias = bias
    return kernel


def test_a_frozen_weight_is_not_prunable():
    def make(pretrained=False, in_chans=1, num_classes=10, **others):
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, num_classes))
        network[1].requires_grad_(False)
        return network

    register_models({"partly_frozen": make})
    model = Choice("partly_frozen")
    network = make_network(model, Recipe(Duration("1it"), 2, 0.1), (1, 4, 4), 10, 0)
    assert list(prunable_weights(model, network)) == ["3.weight"]
