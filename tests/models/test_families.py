"""timm's families of models: what is prunable in them, what the doctor says, and that masks hold in training."""

from __future__ import annotations

import json

import pytest
import torch

from lth_bench.data.examples import Batch, Examples
from lth_bench.errors import ModelError
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import load_plugins
from lth_bench.models.layer_roles import prunable
from lth_bench.models.networks import make_network, prunable_weights
from lth_bench.models.timm_models import register_models
from lth_bench.pruning.doctor import diagnose
from lth_bench.pruning.initial_scores import sensitivities
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import recipe
from support.places import ROOT

PAGE = ROOT / "docs" / "families.md"
COLOUR, CLASSES, COUNT = (3, 32, 32), 10, 8
RECIPE = recipe(batch_size=COUNT, duration="1it", measure_every="1it")

FAMILIES: dict[str, dict] = {
    "beit_base_patch16_224": {"embed_dim": 192, "depth": 3, "num_heads": 3},
    "cait_xxs24_224": {},
    "coatnet_nano_rw_224": {},
    "convmixer_768_32": {},
    "convnext_atto": {},
    "convnextv2_atto": {},
    "cspresnet50": {},
    "deit_tiny_patch16_224": {},
    "densenet121": {},
    "dla46_c": {},
    "edgenext_xx_small": {},
    "efficientnet_b0": {},
    "efficientvit_b0": {},
    "fastvit_t8": {},
    "ghostnet_050": {},
    "gmlp_ti16_224": {},
    "hrnet_w18_small": {},
    "inception_next_atto": {},
    "levit_128s": {},
    "mixer_s32_224": {},
    "mobilenetv3_small_050": {},
    "mobilevit_xxs": {},
    "nfnet_l0": {},
    "poolformer_s12": {},
    "pvt_v2_b0": {},
    "regnetx_002": {},
    "regnety_002": {},
    "repvgg_a0": {},
    "resmlp_12_224": {},
    "resnet18": {},
    "resnext26ts": {},
    "rexnet_100": {},
    "seresnet18": {},
    "swin_tiny_patch4_window7_224": {"depths": (1, 1, 1, 1)},
    "swinv2_tiny_window8_256": {"depths": (1, 1, 1, 1)},
    "test_maxvit": {},
    "vgg11_bn": {"mlp_ratio": 0.0625},
    "vit_tiny_patch16_224": {},
    "xcit_nano_12_p16_224": {},
}
REFUSED = {"nfnet_l0"}
EXAMPLES = {
    "convnext_atto": "depthwise convolutions, layer norm and layer scales",
    "dla46_c": "branches that are joined",
    "ghostnet_050": "cheap depthwise features, joined",
    "gmlp_ti16_224": "an MLP with gates, and a head of zeros",
    "mobilenetv3_small_050": "depthwise convolutions, squeeze and excitation",
    "mobilevit_xxs": "convolutions and attention",
    "regnety_002": "grouped convolutions, squeeze and excitation, last norms of zeros",
    "resnet18": "residual",
    "vit_tiny_patch16_224": "attention",
    "xcit_nano_12_p16_224": "attention over channels; fit as it is",
}
"""Small ones of most kinds; the others are marked slow."""


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_models(load_plugins().models.items)


def batch() -> Batch:
    inputs = torch.randn(COUNT, *COLOUR, generator=torch.Generator().manual_seed(0))
    return Batch(inputs, torch.arange(COUNT) % CLASSES)


def matrices(network):
    """What a convolution or a linear layer holds, by its shape and name alone."""
    return {
        name
        for name, value in network.state_dict().items()
        if value.dim() >= 2 and value.squeeze().dim() >= 1 and name.rpartition(".")[2] in ("weight", "in_proj_weight")
    }


def row(name, before, after):
    """A line of the table in the documentation."""
    told = "; ".join(before.reasons) or "fit"
    options = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in before.remedies.items()) or "–"
    size = "–" if after.feature_map is None else "×".join(map(str, after.feature_map))
    emptied = f"{len(after.emptied(0))} of {len(after.layers)}"
    shown = f"`{name}`" + "".join(f" `{key} = {json.dumps(value)}`" for key, value in FAMILIES[name].items())
    return [shown, f"{before.weights:,}", told, "refused" if name in REFUSED else options, size, emptied]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in EXAMPLES else pytest.mark.slow) for name in FAMILIES]
)
def test_a_family_is_found_examined_mended_and_trained(name, record_property):
    model = Choice(name, FAMILIES[name])
    found(model)
    before = diagnose(model, RECIPE, batch(), CLASSES)
    mended = Choice(name, {**model.arguments, **before.remedies})
    after = diagnose(mended, RECIPE, batch(), CLASSES) if before.remedies else before
    line = row(name, before, after)
    record_property("family", json.dumps(line))
    if name in REFUSED:
        assert "would not hold" in after.reasons[-1]
        return
    assert after.reasons == [] and not [layer.name for layer in after.layers if layer.snip_zeros == 1]
    trained(mended)
    assert documented().get(line[0]) == line[:5]


def found(model):
    """Looks for what may be pruned, in a network that is gone afterwards."""
    network = make_network(model, RECIPE, COLOUR, CLASSES, 0)
    assert set(prunable(network)) == matrices(network)


def documented():
    """The lines of the page by model, without what depends on rounding."""
    lines = [[part.strip() for part in text.split("|")[1:6]] for text in PAGE.read_text().splitlines() if "|" in text]
    return {line[0]: line for line in lines}


def trained(model):
    """Prunes by SNIP's scores and trains a step: what is pruned stays zero, what is not moves."""
    images = torch.randint(0, 256, (2 * COUNT, *COLOUR), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    one = torch.ones(1, 1, 1, 1)
    data = Examples(images, torch.arange(2 * COUNT) % CLASSES, one / 64, -2 * one)
    setup = Setup(
        network=lambda seed: make_network(model, RECIPE, COLOUR, CLASSES, seed),
        training=data,
        validation=data,
        recipe=RECIPE,
        sparsity=0.9,
        seed=0,
        prunable=lambda network: prunable_weights(model, network),
    )
    session = Session(setup)
    session.prune(sensitivities(session.model, session.weights, batch()))
    before = {name: weight.detach().clone() for name, weight in session.weights.items()}
    session.train()
    session.finish()
    alive = [name for name, mask in session.masks.items() if mask.any()]
    moved = sum(not torch.equal(session.weights[name], before[name]) for name in alive)
    assert not any(((weight != 0) & ~session.masks[name]).any() for name, weight in session.weights.items())
    assert moved > len(alive) / 2


def test_a_model_that_cannot_take_the_images_is_told():
    with pytest.raises(ModelError, match=r"'inception_v4' cannot take inputs of shape \(3, 32, 32\)"):
        diagnose(Choice("inception_v4"), RECIPE, batch(), CLASSES)


def test_the_two_failures_of_the_defaults_are_found_and_mended():
    before = diagnose(Choice("resnet18"), RECIPE, batch(), CLASSES)
    assert before.reasons == [
        "98.3% of its prunable weights, all of 16 of its 21 layers, have a SNIP score of exactly zero",
        "its last feature map is 1×1 for images of 32×32",
    ]
    assert before.remedies == {"stem": "cifar", "zero_init_last": False}
    assert sum(layer.surviving[0] for layer in before.layers) < 0.02 * before.weights
    after = diagnose(Choice("resnet18", before.remedies), RECIPE, batch(), CLASSES)
    assert after.reasons == [] and after.remedies == {}
    assert sum(layer.surviving[0] for layer in after.layers) == round(0.1 * after.weights) and not after.emptied(0)
