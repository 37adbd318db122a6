"""timm's checkpoints as weights of a model: what timm converts, and what it cannot load."""

from __future__ import annotations

import re
from functools import reduce

import pytest
import torch

from lth_bench.experiments.experiment import Choice
from lth_bench.models.pretrained import translated
from support.checkpoints import checkpoint

MODEL = Choice("test_resnet", {"output_layer": "new", "weights": "sha256:" + "0" * 64, "weights_from": "timm"})


def test_the_first_convolution_sums_over_colours_for_grey_images():
    state = checkpoint("test_resnet")
    grey = translated(state, MODEL, (1, 8, 8))
    assert torch.allclose(grey["conv1.0.weight"], state["conv1.0.weight"].sum(1, keepdim=True))
    assert all(torch.equal(grey[name], state[name]) for name in state if name != "conv1.0.weight")
    colour = translated(state, MODEL, (3, 8, 8))
    assert colour.keys() == state.keys() and all(torch.equal(colour[name], value) for name, value in state.items())


THEIRS = {  # names of the authors of ConvNeXt for timm's
    r"stem\.": "downsample_layers.0.",
    r"stages\.(\d)\.downsample": r"downsample_layers.\1",
    r"stages\.(\d)\.blocks": r"stages.\1",
    r"conv_dw": "dwconv",
    r"mlp\.fc": "pwconv",
    r"head\.norm": "norm",
    r"head\.fc": "head",
}


def test_names_of_the_authors_become_timms():
    state = checkpoint("test_convnext")
    theirs = {reduce(lambda name, pair: re.sub(*pair, name), THEIRS.items(), name): state[name] for name in state}
    assert not set(theirs) & set(state)
    found = translated(theirs, Choice("test_convnext"), (3, 32, 32))
    assert found.keys() == state.keys() and all(torch.equal(found[name], value) for name, value in state.items())


def test_positions_are_resized_to_the_images():
    state = checkpoint("test_vit")
    fitted = translated(state, Choice("test_vit"), (3, 32, 32))
    assert state["pos_embed"].shape[1] == 1 + 10 * 10 and fitted["pos_embed"].shape[1] == 1 + 2 * 2
    assert torch.equal(fitted["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])


def test_what_timm_would_draw_is_left_out():
    state = checkpoint("dla46x_c")
    name = next(name for name in state if name.endswith("conv2.weight"))
    found = translated({key: value for key, value in state.items() if key != name}, Choice("dla46x_c"), (3, 32, 32))
    assert state.keys() - found.keys() == {name}


@pytest.mark.parametrize("state", [{"conv.weight": torch.zeros(3)}, checkpoint("test_vit")])
def test_what_timm_cannot_load_stays_as_it_is(state):
    assert translated(state, MODEL, (3, 8, 8)) is state
