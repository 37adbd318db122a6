"""Networks of the literature: as large as their papers say, and made by timm."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.experiments.plugins import load_plugins
from lth_bench.models.layer_roles import output_layer, prunable
from lth_bench.models.timm_models import make_model, register_models
from support.places import ROOT

GREY, COLOUR = (1, 28, 28), (3, 32, 32)

WEIGHTS = {
    # in the papers: 266,200; 431K; 4.3M, 2.4M (conv alone 38K, 260K, 1.1M)
    "lenet_300_100": (GREY, 266_200),
    "mlp": (GREY, 266_200),
    "lenet_5": (GREY, 430_500),
    "conv_2": (COLOUR, 4_300_992),
    "conv_4": (COLOUR, 2_425_024),
    "conv_6": (COLOUR, 2_261_184),
    "conv_8": (COLOUR, 5_275_840),
    # 0.27M, 0.46M, 0.66M, 0.85M
    "cifar_resnet20": (COLOUR, 270_896),
    "cifar_resnet32": (COLOUR, 464_432),
    "cifar_resnet44": (COLOUR, 657_968),
    "cifar_resnet56": (COLOUR, 851_504),
    # 9.2M, 9.4M, 14.7M, 20.0M
    "cifar_vgg11": (COLOUR, 9_222_848),
    "cifar_vgg13": (COLOUR, 9_407_168),
    "cifar_vgg16": (COLOUR, 14_715_584),
    "cifar_vgg19": (COLOUR, 20_024_000),
    # 1.1M, 11.0M
    "wrn_22_2": (COLOUR, 1_076_912),
    "wrn_16_8": (COLOUR, 10_954_160),
    "preresnet_101": (COLOUR, 1_039_280),
}


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_models(load_plugins().models.items)


def made(name, shape=COLOUR, **arguments):
    return make_model(name, arguments, shape, 10)


def test_all_are_registered_and_counted():
    ours = {name for name in load_plugins().models if load_plugins().models.providers[name].distribution == "lth-bench"}
    assert ours == set(WEIGHTS)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_network_has_the_weights_of_its_paper_and_classifies(name):
    shape, weights = WEIGHTS[name]
    network = made(name, shape)
    assert sum(weight.numel() for weight in prunable(network).values()) == weights
    assert output_layer(network) == list(prunable(network))[-1]
    assert network(torch.randn(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("name", WEIGHTS)
def test_timm_makes_it_for_other_channels_and_classes(name):
    assert timm.create_model(name, in_chans=2, num_classes=7)(torch.randn(2, 2, *WEIGHTS[name][0][1:])).shape == (2, 7)


def convolutions(name, **arguments):
    return sum(weight.numel() for weight in prunable(made(name, **arguments)).values() if weight.dim() == 4)


def test_parts_of_the_networks_are_those_of_the_papers():
    assert [convolutions(name) for name in ("conv_2", "conv_4", "conv_6")] == [38_592, 259_776, 1_144_512]
    down = [layer.shortcut for layer in made("cifar_resnet20").modules() if len(getattr(layer, "shortcut", ()))]
    assert sum(shortcut[0].weight.numel() for shortcut in down) == 2_560


def test_the_resnet_32_of_grasp_is_twice_as_wide():
    network = made("cifar_resnet32", width=2)
    assert [layer[-1].conv2.out_channels for layer in (network.layer1, network.layer2, network.layer3)] == [32, 64, 128]
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_860_522


def test_an_mlp_has_the_widths_that_are_asked_for():
    shapes = [tuple(weight.shape) for weight in prunable(made("mlp", (1, 4, 4), widths=[12, 8])).values()]
    assert shapes == [(12, 16), (8, 12), (10, 8)]


def test_lenet_5_may_be_narrower_and_have_batch_norm():
    network = made("lenet_5", GREY, width=0.4, norm=True)
    shapes = [tuple(weight.shape) for weight in prunable(network).values()]
    assert shapes == [(8, 1, 5, 5), (20, 8, 5, 5), (200, 320), (10, 200)]
    norms = [layer.num_features for layer in network if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms == [8, 20, 200]
    assert not any("norm" in name for name, _ in made("lenet_5", GREY).named_children())


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_it_does_not_have_is_refused(name):
    with pytest.raises(ModelError, match=rf"{name} has no parameter colour; known: "):
        made(name, WEIGHTS[name][0], colour=1)
    with pytest.raises(ModelError, match=f"{name} has no pretrained weights"):
        made(name, WEIGHTS[name][0], pretrained=True)


def test_the_page_on_models_says_what_there_is():
    page = ROOT.joinpath("docs", "models.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", page, re.MULTILINE)
    assert {name: int(weights.replace(",", "")) for name, weights in rows} == {n: w for n, (_, w) in WEIGHTS.items()}
