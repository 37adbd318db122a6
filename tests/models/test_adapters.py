"""timm models fitted to small images and to pruning at initialisation."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import timm
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.experiments.adapters import Adapters
from lth_bench.models.cifar_stem import cifar_stem
from lth_bench.models.feature_map import last_feature_map
from lth_bench.models.layer_roles import kept_dense, output_weights, prunable
from lth_bench.models.zero_init import layer_scales, mend, norm_scales, zero_weights
from lth_bench_plugins import conv, lenet

CIFAR = (3, 32, 32)
FAMILIES = [
    "convnext_atto",
    "densenet121",
    "dla46_c",
    "edgenext_xx_small",
    "efficientnet_lite0",
    "ghostnet_050",
    "hrnet_w18_small",
    "levit_128s",
    "mobilenetv3_small_050",
    "poolformer_s12",
    "pvt_v2_b0",
    "regnetx_002",
    "resnet18",
    "swin_tiny_patch4_window7_224",
    "test_maxvit",
    "tf_efficientnetv2_b0",
]


def maker(name, shape=CIFAR, **arguments):
    """Draws timm's model for images `scale` times as large; those of fixed inner resolutions are told the size."""
    fixed = timm.get_pretrained_cfg(name).fixed_input_size

    def make(scale=1):
        size = {"img_size": (shape[1] * scale, shape[2] * scale)} if fixed else {}
        return timm.create_model(name, num_classes=10, in_chans=shape[0], **size, **arguments)

    return make


def fitted(name, shape=CIFAR, seed=0, **arguments):
    torch.manual_seed(seed)
    return cifar_stem(maker(name, shape, **arguments), shape)


def made(name, **arguments):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **arguments)


def images(shape=CIFAR, count=2):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# options


def test_options_are_read_without_torch():
    code = "import sys, lth_bench.experiments.adapters; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_defaults_change_nothing():
    network = made("resnet18")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    mend(network, Adapters())
    assert same(before, network.state_dict())
    assert kept_dense(network, Adapters().keep) == set()


@pytest.mark.parametrize("value", [0.0, -0.1, math.inf, math.nan])
def test_a_layer_scale_that_is_no_positive_number_is_refused(value):
    with pytest.raises(ValueError, match=f"layer_scale must be a finite number above 0, found {value}"):
        Adapters(layer_scale=value)


@pytest.mark.parametrize("options", [{"stem": "imagenet"}, {"keep": ("last",)}, {"zero_init_last": 0}])
def test_unknown_words_are_refused(options):
    with pytest.raises(ValidationError):
        TypeAdapter(Adapters).validate_python(options, strict=True)


# stems


def test_resnet18_takes_the_form_known_from_cifar():
    network = fitted("resnet18")
    stem = network.conv1
    assert (stem.kernel_size, stem.stride, stem.padding, stem.weight.shape) == ((3, 3), (1, 1), (1, 1), (64, 3, 3, 3))
    assert isinstance(network.maxpool, nn.Identity)
    assert (
        sum(weight.numel() for weight in prunable(network).values()) == 11_164_352
    )  # as counted for He et al.'s block
    assert network.layer2[0].conv1.stride == (2, 2)
    assert last_feature_map(network, images()) == (4, 4)


def test_the_new_kernel_has_the_deviation_of_its_new_fan():
    weight = fitted("resnet18").conv1.weight.detach()
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)


def test_all_but_the_stem_is_drawn_as_without_it():
    torch.manual_seed(0)
    own, network = maker("resnet18")().state_dict(), fitted("resnet18").state_dict()
    assert own.keys() == network.keys()
    assert [name for name in own if not torch.equal(own[name], network[name])] == ["conv1.weight"]


@pytest.mark.parametrize("name", ["resnet10t", "test_maxvit", "convnext_atto"])
def test_one_seed_makes_one_network(name):
    one, other, third = (fitted(name, (3, 8, 8), seed).state_dict() for seed in (0, 0, 1))
    assert same(one, other) and not same(one, third)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_feature_map_of_small_images_is_four_by_four_and_every_pixel_counts(name):
    network = fitted(name)
    assert last_feature_map(network, images()) == (4, 4)
    mend(network, Adapters(zero_init_last=False, layer_scale=1.0))
    inputs = images().requires_grad_()
    nn.functional.cross_entropy(network(inputs), torch.tensor([0, 1])).backward()
    assert bool((inputs.grad != 0).any(1).all())
    assert all(weight.grad is not None for weight in prunable(network).values())
    with torch.no_grad():
        for weight in network.parameters():
            weight -= 0.01 * (0 if weight.grad is None else weight.grad)
        assert network.eval()(images()).isfinite().all()


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("resnet18", (1, 8, 8), (4, 4)),
        ("resnet18", (1, 28, 28), (4, 4)),
        ("resnet18", (3, 32, 64), (4, 8)),
        ("resnet18", (3, 64, 64), (4, 4)),
        ("resnet18", (3, 128, 128), (4, 4)),
        ("resnet10t", (3, 32, 32), (4, 4)),
        ("resnetblur18", (3, 32, 32), (4, 4)),
        ("convnext_atto", (1, 8, 8), (4, 4)),
        ("levit_128s", (1, 28, 28), (4, 4)),
        ("levit_128s", (1, 8, 8), (2, 2)),
    ],
)
def test_only_as_many_downsamplings_go_as_must_or_can(name, shape, size):
    assert last_feature_map(fitted(name, shape), images(shape)) == size


def test_networks_for_small_images_stay_as_they_are():
    def make(scale):
        return conv.MODELS["conv_2"](img_size=(32 * scale, 32 * scale))

    torch.manual_seed(0)
    network = cifar_stem(make, CIFAR)
    torch.manual_seed(0)
    assert same(network.state_dict(), make(1).state_dict())


def test_large_images_keep_the_stem():
    network = fitted("resnet18", (3, 128, 128))
    assert (network.conv1.kernel_size, network.conv1.stride) == ((7, 7), (2, 2))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_tiny_patch16_224", "the network has no convolutional stem; give it img_size and patch_size instead"),
        ("tresnet_m", "does not start with a downsampling by a layer's stride"),
        ("hrnet_w18_small", "no downsampling of the network can be removed so that it takes 3×28×28 images"),
    ],
)
def test_networks_that_cannot_be_fitted_are_refused(name, reason):
    with pytest.raises(ModelError, match=reason):
        fitted(name, (3, 28, 28) if name.startswith("hrnet") else CIFAR)


def test_a_network_for_one_size_alone_is_refused():
    with pytest.raises(ModelError, match="does not take the 3×128×128 images that it is probed with: AssertionError"):
        cifar_stem(lambda scale: made("vit_tiny_patch16_224", img_size=32), CIFAR)


# last feature maps


def test_last_feature_maps_of_networks_of_other_forms():
    assert last_feature_map(lenet.lenet_300_100(), images((1, 28, 28))) is None
    assert last_feature_map(lenet.lenet_5(), images((1, 28, 28))) == (4, 4)
    assert last_feature_map(conv.MODELS["conv_4"](), images()) == (8, 8)
    assert last_feature_map(made("swin_tiny_patch4_window7_224", img_size=64), images((3, 64, 64))) == (2, 2)
    assert last_feature_map(made("vit_tiny_patch16_224", img_size=32, patch_size=8), images()) == (4, 4)
    assert last_feature_map(made("seresnet18"), images((3, 64, 96))) == (2, 3)


def test_looking_at_the_last_feature_map_leaves_no_trace():
    network = made("levit_128s", img_size=64)
    network.head.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    flags, noise = [module.training for module in network.modules()], torch.get_rng_state()
    last_feature_map(network, images((3, 64, 64)))
    assert same(before, network.state_dict())
    assert [module.training for module in network.modules()] == flags
    assert torch.equal(torch.get_rng_state(), noise)
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(getattr(module, "attention_bias_cache", None) for module in network.modules())


# weights that start at zero


@pytest.mark.parametrize("name", ["resnet18", "regnetx_002"])
def test_norm_scales_that_start_at_one_are_those_of_timm(name):
    network = made(name)
    mend(network, Adapters(zero_init_last=False))
    assert same(network.state_dict(), made(name, zero_init_last=False).state_dict())


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 8), ("test_byobnet", 4), ("swinv2_cr_tiny_224", 24), ("levit_128s", 20), ("test_nfnet", 4)],
)
def test_norm_scales_that_start_at_zero_are_found_whatever_timm_calls_them(name, count):
    network = made(name)
    assert len(zero_weights(network)) == count
    mend(network, Adapters(zero_init_last=False))
    assert zero_weights(network) == []


def test_global_response_norm_starts_as_the_identity_and_stays():
    network = made("convnextv2_atto")
    assert zero_weights(network) == []
    mend(network, Adapters(zero_init_last=False))
    assert not network.stages[0].blocks[0].mlp.grn.weight.any()


def test_an_output_layer_that_is_zero_is_drawn():
    network = made("mixer_s32_224")
    assert zero_weights(network) == ["head.weight"]
    mend(network, Adapters(zero_init_head=False))
    assert zero_weights(network) == []
    assert float(network.head.weight.detach().std()) == pytest.approx(0.0176, rel=0.03)  # truncation takes 12 %


def test_an_output_layer_that_is_not_zero_stays():
    network = made("resnet18")
    before = network.fc.weight.clone()
    mend(network, Adapters(zero_init_head=False))
    assert torch.equal(network.fc.weight, before)


@pytest.mark.parametrize(
    ("name", "count", "start"),
    [
        ("convnext_atto", 12, 1e-6),
        ("cait_xxs24_224", 52, 1e-5),
        ("poolformer_s12", 24, 1e-5),
        ("edgenext_xx_small", 15, 1e-6),
        ("resmlp_12_224", 24, 1e-4),
        ("xcit_nano_12_p16_224", 40, 1.0),
        ("test_vit2", 16, 1e-5),
        ("poolformerv2_s12", 0, None),
        ("resnet18", 0, None),
        ("swinv2_tiny_window8_256", 0, None),
    ],
)
def test_layer_scales_are_found_whatever_timm_calls_them(name, count, start):
    network = made(name)
    assert [float(scale.detach().mean()) for scale in layer_scales(network).values()] == pytest.approx([start] * count)
    mend(network, Adapters(layer_scale=0.5))
    assert all(bool((scale == 0.5).all()) for scale in layer_scales(network).values())
    assert not any(name in norm_scales(network) for name in layer_scales(network))


# layers that are kept dense


def test_kept_layers_are_named_as_prunable_ones_are():
    network = made("mobilenetv3_small_050")
    assert kept_dense(network, ("first",)) == {"conv_stem.weight"}
    assert kept_dense(network, ("output",)) == {"classifier.weight"}
    assert len(kept_dense(network, ("depthwise",))) == 11
    assert kept_dense(made("regnetx_002"), ("depthwise",)) == set()  # several channels to a group
    assert kept_dense(network, ("first", "output", "depthwise")) <= set(prunable(network))
    assert len(kept_dense(network, ("first", "output", "depthwise"))) == 13


def test_first_layers_and_outputs_may_be_several():
    assert kept_dense(made("mobileone_s0"), ("first",)) == {
        "stem.conv_kxk.0.conv.weight",
        "stem.conv_scale.conv.weight",
    }
    assert output_weights(made("deit_tiny_distilled_patch16_224")) == ["head.weight", "head_dist.weight"]
    assert output_weights(made("levit_128s")) == ["head.linear.weight", "head_dist.linear.weight"]


def test_networks_that_timm_does_not_describe_have_first_and_last_layers_too():
    network = lenet.lenet_300_100()
    names = list(prunable(network))
    assert kept_dense(network, ("first", "output")) == {names[0], names[-1]}
