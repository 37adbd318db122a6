"""Channels: what goes with one that is removed, by hand on small networks; and that nothing of it ever comes back."""

from __future__ import annotations

import copy
from collections import OrderedDict

import msgspec
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.errors import MaskError
from lth_bench.experiments.plugins import load_plugins
from lth_bench.models.flops import passage
from lth_bench.models.layer_roles import prunable
from lth_bench.models.modes import mode
from lth_bench.models.timm_models import register_models
from lth_bench.pruning import masks as masking
from lth_bench.pruning.channels import chosen, gates, inner, remaining, structure, thin
from lth_bench.pruning.tickets import Ticket, read_ticket, write_ticket
from lth_bench.running.evaluation import _layer
from lth_bench.running.outcomes import hand_over, outcome, take
from lth_bench.storage.store import Store
from lth_bench.training.memory import Memory
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, examples, make_session, recipe, states_equal

register_models(load_plugins().models.items)


def conv(wide_in, wide_out, size=1, **options):
    return nn.Conv2d(wide_in, wide_out, size, padding=size // 2, **{"bias": False, **options})


def sequence(*layers):
    return nn.Sequential(OrderedDict((f"m{number}", layer) for number, layer in enumerate(layers)))


def whole(model, shape):
    return structure(model, prunable(model), shape)


def bits(text):
    """A boolean tensor, a row for every word."""
    rows = [[letter == "1" for letter in word] for word in text.split()]
    return torch.tensor(rows if len(rows) > 1 else rows[0])


def thinned(model, shape, **channels):
    """Masks by layer, one letter a filter and input channel, when these channels stay; `a__b` is layer `a.b`."""
    given = {f"{name.replace('__', '.')}.weight": bits(text) for name, text in channels.items()}
    found = whole(model, shape)
    made = thin(found, masking.full(found.weights), given)
    return {name.removesuffix(".weight"): words(mask) for name, mask in made.items()}


def words(mask):
    flat = mask.flatten(2).any(2) if mask.ndim > 2 else mask
    assert mask.ndim == 2 or torch.equal(flat.view(*flat.shape, *(1 for _ in mask.shape[2:])).expand_as(mask), mask)
    return " ".join("".join("1" if bit else "0" for bit in row) for row in flat)


def gated(model, shape, **channels):
    given = {f"{name}.weight": bits(text) for name, text in channels.items()}
    names = {id(vector): name for name, vector in model.named_parameters()}
    return {names[id(vector)]: words(alive[None]) for vector, alive in gates(whole(model, shape), given)}


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_a_convolution_and_the_next_one_with_batch_norm_between_them():
    model = sequence(conv(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), conv(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert thinned(model, (1, 4, 4), m0="101") == {"m0": "1 0 1", "m3": "101 101"}
    assert gated(model, (1, 4, 4), m0="101") == {"m1.weight": "101", "m1.bias": "101"}
    assert whole(model, (1, 4, 4)).norms == {"m0.weight": model.m1}


def test_biases_of_layers_without_norm_go_with_their_channel():
    model = sequence(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    channels = {"m1": "011", "m3": "100"}
    assert thinned(model, (1, 2, 2), **channels) == {"m1": "0000 1111 1111", "m3": "011 000 000", "m5": "100 100"}
    assert gated(model, (1, 2, 2), **channels) == {"m1.bias": "011", "m3.bias": "100"}


def test_pixels_of_a_channel_are_inputs_of_the_linear_layer_behind():
    model = sequence(conv(1, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 1))
    assert thinned(model, (1, 4, 4), m0="010") == {"m0": "0 1 0", "m3": "000011110000"}


class Added(nn.Module):
    """Two branches of three channels, added, then a third convolution."""

    def __init__(self):
        super().__init__()
        self.stem = conv(1, 2)
        self.left, self.norm_left = conv(2, 3), nn.BatchNorm2d(3)
        self.right, self.norm_right = conv(2, 3), nn.BatchNorm2d(3)
        self.end = conv(3, 1)

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.norm_left(self.left(x)) + self.norm_right(self.right(x))
        return self.end(x.relu()).flatten(1)


def test_a_channel_that_is_added_to_others_is_dead_only_where_all_of_them_are():
    model = Added()
    one = thinned(model, (1, 2, 2), left="011")
    assert one == {"stem": "1 1", "left": "00 11 11", "right": "11 11 11", "end": "111"}
    both = thinned(model, (1, 2, 2), left="011", right="010")
    assert both == {"stem": "1 1", "left": "00 11 11", "right": "00 11 00", "end": "011"}
    assert inner(whole(model, (1, 2, 2)), ["stem.weight", "left.weight", "right.weight"]) == ["stem.weight"]


def test_grouped_convolutions_read_their_own_group_only():
    model = sequence(conv(1, 4), conv(4, 6, groups=2), conv(6, 1), nn.Flatten())
    # Channels 0 and 1 are read by filters 0 to 2, channels 2 and 3 by filters 3 to 5.
    assert thinned(model, (1, 2, 2), m0="1011") == {"m0": "1 0 1 1", "m1": "10 10 10 11 11 11", "m2": "111111"}
    assert thinned(model, (1, 2, 2), m0="0011") == {"m0": "0 0 1 1", "m1": "00 00 00 11 11 11", "m2": "000111"}


def test_a_depthwise_filter_goes_with_its_channel_and_so_do_its_bias_and_norm():
    model = sequence(
        conv(1, 3), nn.BatchNorm2d(3), conv(3, 3, 3, groups=3, bias=True), nn.BatchNorm2d(3), conv(3, 2), nn.Flatten()
    )
    assert thinned(model, (1, 4, 4), m0="110") == {"m0": "1 1 0", "m2": "1 1 0", "m4": "110 110"}
    vectors = ("m1.weight", "m1.bias", "m2.bias", "m3.weight", "m3.bias")
    assert gated(model, (1, 4, 4), m0="110") == dict.fromkeys(vectors, "110")


def test_a_norm_behind_an_activation_goes_with_what_it_reads():
    model = sequence(conv(1, 3), nn.ReLU(), nn.BatchNorm2d(3), conv(3, 1), nn.Flatten())
    assert whole(model, (1, 2, 2)).norms == {}
    assert thinned(model, (1, 2, 2), m0="100") == {"m0": "1 0 0", "m3": "100"}
    assert gated(model, (1, 2, 2), m0="100") == {"m2.weight": "100", "m2.bias": "100"}


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3, affine=False), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3)])
def test_a_norm_that_makes_something_of_zeros_keeps_what_reads_it(norm):
    model = sequence(conv(1, 3), norm, nn.ReLU(), conv(3, 1), nn.Flatten())
    found = whole(model, (1, 2, 2))
    assert thinned(model, (1, 2, 2), m0="100") == {"m0": "1 0 0", "m3": "111"}
    assert found.norms == {} and gated(model, (1, 2, 2), m0="100") == {}


class Shared(nn.Module):
    """Two layers that share a norm, and one layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.twice = conv(1, 2), conv(2, 2), conv(2, 2)
        self.norm, self.own = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.norm(self.one(x)).relu()
        z = self.norm(self.two(y)).relu()
        return (self.own(self.twice(z)) + self.own(self.twice(y))).flatten(1)


def test_a_norm_that_several_layers_share_is_none_of_theirs():
    model = Shared()
    assert whole(model, (1, 2, 2)).norms == {"twice.weight": model.own}
    # What is called twice reads a channel if it does so in one of its calls.
    masks = {"one": "1 0", "two": "10 10", "twice": "11 11"}
    assert thinned(model, (1, 2, 2), one="10") == masks and gated(model, (1, 2, 2), one="10") == {}


def test_modules_may_be_called_by_keyword():
    class ByKeyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm, self.two = conv(1, 2), nn.BatchNorm2d(2), conv(2, 1)

        def forward(self, x):
            return self.two(input=self.norm(input=self.one(input=x))).flatten(1)

    model = ByKeyword()
    assert whole(model, (1, 2, 2)).norms == {"one.weight": model.norm}
    assert thinned(model, (1, 2, 2), one="10") == {"one": "1 0", "two": "10"}


def test_a_gate_multiplies_and_a_difference_subtracts():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.value, self.gate, self.end = conv(1, 2), conv(1, 2), conv(2, 1)

        def forward(self, x):
            y = self.value(x)
            y = nn.functional.avg_pool2d(y, 3, 1, 1) - y
            return self.end(y * self.gate(x).sigmoid()).flatten(1)

    model = Gated()
    assert thinned(model, (1, 4, 4), value="10") == {"value": "1 0", "gate": "1 1", "end": "10"}
    assert thinned(model, (1, 4, 4), gate="10") == {"value": "1 1", "gate": "1 0", "end": "11"}, "0.5 times the value"


def test_the_projection_of_attention_loses_rows_and_bias():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

        def forward(self, x):
            x = x.flatten(2)
            return self.attention(x, x, x)[0].flatten(1)

    found = whole(Attending(), (3, 2, 2))
    channels = {"attention.in_proj_weight": torch.arange(12) != 5}
    masks = thin(found, masking.full(found.weights), channels)
    assert masking.kept(masks) == {"attention.in_proj_weight": 44, "attention.out_proj.weight": 16}
    assert [(len(vector), int(alive.sum())) for vector, alive in gates(found, channels)] == [(12, 11)]


# ---- which channels go -----------------------------------------------------------------------------------------------


def test_the_lowest_go_but_for_the_best_of_each_layer_and_ties_go_to_the_earlier():
    scores = {"a": torch.tensor([0.3, 0.1, 0.2]), "b": torch.tensor([0.0, 0.0]), "c": torch.tensor([5.0, 0.2])}
    kept = {count: {k: words(v[None]) for k, v in remaining(scores, count, {}).items()} for count in range(6)}
    assert kept[0] == {"a": "111", "b": "11", "c": "11"}
    assert kept[1] == {"a": "111", "b": "10", "c": "11"}
    assert kept[2] == {"a": "101", "b": "10", "c": "11"}
    assert kept[3] == {"a": "101", "b": "10", "c": "10"}
    assert kept[4] == {"a": "100", "b": "10", "c": "10"}
    gone = {"a": bits("011"), "d": bits("10")}
    assert {k: words(v[None]) for k, v in remaining(scores, 1, gone).items()} == {**kept[0], "a": "011", "d": "10"}


def test_as_few_go_as_meet_the_sparsity():
    # Weights: 1·3 + 3·2 = 9. Without the first channel there are 6, without the second 3.
    model = sequence(conv(1, 3), nn.ReLU(), conv(3, 2), nn.Flatten())
    found = whole(model, (1, 2, 2))
    scores = {"m0.weight": torch.tensor([2.0, 0.5, 1.0])}
    for sparsity, kept in ((0.0, "111"), (0.01, "101"), (1 / 3, "101"), (0.34, "100"), (2 / 3, "100")):
        channels, masks = chosen(found, masking.full(found.weights), scores, sparsity, {})
        assert words(channels["m0.weight"][None]) == kept
        assert sum(masking.kept(masks).values()) == 3 * kept.count("1")
    with pytest.raises(MaskError, match=r"cannot be reached by removing channels of 1 layers.* it is 0\.6667"):
        chosen(found, masking.full(found.weights), scores, 0.7, {})


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"m9.weight": torch.ones(3)}, "'m9.weight', which is no prunable layer"),
        ({"m0.weight": torch.ones(2)}, r"has 3 channels, its scores have shape \(2,\)"),
        ({"m0.weight": torch.tensor([1.0, torch.nan, 0.0])}, "NaN or infinite"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, words):
    found = whole(sequence(conv(1, 3), conv(3, 2), nn.Flatten()), (1, 2, 2))
    with pytest.raises(MaskError, match=words):
        chosen(found, masking.full(found.weights), scores, 0.5, {})


@settings(max_examples=20, deadline=None)
@given(sparsity=st.floats(0, 0.8), seed=st.integers(0, 1000))
def test_the_sparsity_is_met_by_less_than_one_channel_and_nested(sparsity, seed):
    session, draws = residual_session(), torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(len(session.weights[name]), generator=draws) for name in session.norms}
    target = (1 - sparsity) * sum(mask.numel() for mask in session.masks.values()) + 1e-6
    half, dense = session.channel_masks(scores, sparsity / 2), session.masks
    session.prune_channels(scores, sparsity)
    assert sum(masking.kept(session.masks).values()) <= target
    assert all(not bool((channel & ~half[name]).any()) for name, channel in session.channels.items())
    assert all(bool(channel.any()) for channel in session.channels.values())
    if count := sum(int((~channel).sum()) for channel in session.channels.values()):
        one_more = thin(session.topology.structure, dense, remaining(scores, count - 1, {}))
        assert sum(masking.kept(one_more).values()) > target


# ---- real networks ---------------------------------------------------------------------------------------------------

MODELS = {
    "cifar_resnet20": ({"width": 0.5}, (3, 8, 8)),
    "wrn_22_2": ({}, (3, 8, 8)),
    "cifar_vgg11": ({"width": 0.125}, (3, 16, 16)),
    "lenet_300_100": ({"img_size": (8, 8)}, (1, 8, 8)),
    "lenet_5": ({"img_size": (16, 16), "norm": True}, (1, 16, 16)),
    "resnet10t": ({}, (3, 32, 32)),
    "mobilenetv3_small_050": ({}, (3, 32, 32)),
    "vit_tiny_patch16_224": ({"img_size": 8, "patch_size": 2, "depth": 2, "embed_dim": 32, "num_heads": 2}, (3, 8, 8)),
}


def made(name):
    arguments, shape = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=5, in_chans=shape[0], **arguments), shape


@pytest.mark.parametrize("name", MODELS)
def test_without_what_reads_only_zeros_the_network_computes_the_same_bit_by_bit(name):
    model, shape = made(name)
    found, draws = whole(model, shape), torch.Generator().manual_seed(0)
    full = masking.full(found.weights)
    assert all(bool(mask.all()) for mask in thin(found, full, {}).values()) and gates(found, {}) == []
    *hidden, _ = found.weights
    channels = {layer: torch.rand(len(found.weights[layer]), generator=draws) < 0.5 for layer in hidden}
    rows = {layer: row.view(-1, *(1 for _ in full[layer].shape[1:])) for layer, row in channels.items()}
    masks = thin(found, full, channels)
    only_rows = {layer: mask & rows[layer] if layer in rows else mask for layer, mask in full.items()}
    fewer = sum(masking.kept(only_rows).values()) - sum(masking.kept(masks).values())
    assert fewer > 0.02 * sum(mask.numel() for mask in full.values())
    for training in (False, True):
        one, other = (computed(found, way, channels, training) for way in (only_rows, masks))
        assert torch.equal(one, other)


def computed(found, masks, channels, training):
    """What the network makes of some images under masks and gates, with norms that have seen some."""
    model, vectors = copy.deepcopy((found.model, gates(found, channels)))
    inputs = torch.randn(8, *found.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(2)
        for vector in model.parameters():
            if vector.ndim == 1:
                vector.add_(torch.randn(vector.shape) / 4)
        with mode(model, training=True):
            model(inputs)
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
        for vector, alive in vectors:
            vector.mul_(alive)
        with mode(model, training=training):
            return model(inputs)


def test_a_network_that_is_physically_thin_computes_the_same():
    model = sequence(
        conv(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 5, 3, bias=True), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)
    )
    data = Examples(torch.randn(30, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3)
    session = Session(Setup(lambda seed: model, data, data, recipe(), 0.5, 0))
    session.train(until=3)
    first, second = bits("110100"), bits("01101")
    channels = {"m0.weight": first, "m3.weight": second}
    session.adopt(thin(session.topology.structure, session.masks, channels), channels)
    session.train(until=10)
    small = sequence(
        conv(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), conv(3, 3, 3, bias=True), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)
    )
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name in ("m0.weight", "m1.weight", "m1.bias", "m1.running_mean", "m1.running_var"):
        state[name] = state[name][first]
    state["m3.weight"], state["m3.bias"] = state["m3.weight"][second][:, first], state["m3.bias"][second]
    state["m6.weight"] = state["m6.weight"].view(3, 5, 16)[:, second].flatten(1)
    small.load_state_dict(state)
    assert sum(w.numel() for w in prunable(small).values()) == sum(masking.kept(session.masks).values())
    with torch.no_grad(), mode(model, training=False), mode(small, training=False):
        assert torch.allclose(model(data.images), small(data.images), atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(model.train()(data.images), small.train()(data.images), atol=1e-5)


def test_a_pass_is_counted_by_its_weights_and_positions():
    session = residual_session()
    found = passage(session.model, session.weights, session.input_shape)
    pixels = {"stem": 16, "conv1": 16, "conv2": 16, "conv3": 4, "conv4": 4, "shortcut": 4, "fc": 1}
    assert found.other == 0 and found.layers == {
        f"{name}.weight": 2 * count * session.weights[f"{name}.weight"].numel() for name, count in pixels.items()
    }
    dense = 2 * (16 * (36 + 144 + 144) + 4 * (216 + 36 + 24) + 18)
    assert session.flops(masking.full(session.weights)) == dense
    # Without one channel between the first two convolutions of a block, 36 weights of each are gone.
    session.prune_channels({"conv1.weight": torch.arange(4.0)}, 72 / 618)
    assert session.flops(session.masks) == dense - 2 * 16 * 72


# ---- in a Session ----------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A stem, a block with a plain shortcut, a block with a convolution as its shortcut; 618 prunable weights."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = conv(1, 4, 3), nn.BatchNorm2d(4)
        self.conv1, self.norm1 = conv(4, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = conv(4, 4, 3), nn.BatchNorm2d(4)
        self.conv3, self.norm3 = conv(4, 6, 3, stride=2), nn.BatchNorm2d(6)
        self.conv4, self.norm4 = conv(6, 6), nn.BatchNorm2d(6)
        self.shortcut, self.norm5 = conv(4, 6, stride=2), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = (x + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))).relu()
        y = self.norm4(self.conv4(self.norm3(self.conv3(x)).relu()))
        return self.fc((y + self.norm5(self.shortcut(x))).relu().mean((2, 3)))


def residual(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Residual()


def residual_session(training=RECIPES["sgd"], sparsity=0.5, memory=None):
    return Session(Setup(residual, examples(70), examples(20, 1), training, sparsity, 0, memory))


def scale_scores(session):
    return {name: norm.weight.detach().abs() + torch.arange(len(norm.weight)) for name, norm in session.norms.items()}


def removed(session):
    """All parameters that channels took with them, with what of them is gone."""
    vectors = gates(session.topology.structure, session.channels)
    return [
        *((vector, ~alive) for vector, alive in vectors),
        *((w, ~session.masks[n]) for n, w in session.weights.items()),
    ]


def assert_nothing_came_back(session):
    count = 0
    for parameter, gone in removed(session):
        assert not parameter[gone].any()
        count += int(gone.sum())
        for value in (session.optimizer.state.get(parameter, {}) if session.optimizer else {}).values():
            assert value.shape != parameter.shape or not value[gone].any()
    assert count > 0


@pytest.mark.parametrize("name", list(RECIPES))
def test_what_is_removed_stays_zero_in_training_with_its_optimiser_state(name):
    session = make_session(RECIPES[name])
    session.train(until=4)
    before = session.snapshot()
    session.prune_channels({"fc1.weight": torch.arange(12.0), "fc2.weight": torch.arange(8.0)})
    assert_nothing_came_back(session)
    names = {id(vector): key for key, vector in session.model.named_parameters()}
    gone = {names[id(parameter)]: int(missing.sum()) for parameter, missing in removed(session)}
    assert gone["norm.weight"] == gone["norm.bias"] == gone["fc1.bias"] > 0 and gone["fc2.bias"] > 0
    for batch in session.batches(until=9):
        session.loss(batch).backward()
        session.update()
        assert_nothing_came_back(session)
    session.rewind(before)
    assert_nothing_came_back(session)
    session.train(until=12)
    assert_nothing_came_back(session)
    session.redraw()
    assert_nothing_came_back(session)
    session.train()
    session.finish()
    assert_nothing_came_back(session)
    assert not session.course.ticket.state["norm.weight"][~session.channels["fc1.weight"]].any()
    best = session.course.monitor.accurate.state
    assert not best["fc1.bias"][~session.channels["fc1.weight"]].any()


def test_channels_of_a_session_by_hand():
    # 16·12 + 12·8 + 8·3 = 312 weights. A channel of fc1 takes 16 + 8, one of fc2 takes 12 + 3 (less where both went).
    session = make_session()
    scores = {"fc1.weight": torch.arange(12.0), "fc2.weight": 20 + torch.arange(8.0)}
    for sparsity, first, second in ((24 / 312, 11, 8), (0.08, 10, 8), (0.5, 5, 8), (0.85, 1, 7)):
        made = copy.deepcopy(session)
        made.prune_channels(scores, sparsity)
        kept = {name: int(channel.sum()) for name, channel in made.channels.items()}
        assert kept == {"fc1.weight": first, "fc2.weight": second}
        left = masking.kept(made.masks)
        assert left == {"fc1.weight": 16 * first, "fc2.weight": first * second, "fc3.weight": 3 * second}
    assert states_equal(made.channel_masks(scores, 0.0), made.channels), "what is gone stays gone"
    with pytest.raises(MaskError, match=r"it is 0\.9359"):
        made.prune_channels(scores, 0.95)
    assert states_equal(
        session.channel_masks(scores, 0.5), {"fc1.weight": bits("000000011111"), "fc2.weight": bits("1" * 8)}
    )
    assert session.channels == {}


def test_inverted_scores_remove_the_other_end():
    session = make_session()
    with session.inverted():
        session.prune_channels({"fc1.weight": torch.arange(12.0)}, 0.5)
    assert words(session.channels["fc1.weight"][None]) == "111110000000"


@pytest.mark.parametrize("name", list(RECIPES))
def test_training_of_channels_is_looked_up_and_is_the_same(tmp_path, name):
    ends, spent = [], []
    for store in (None, Store(tmp_path), Store(tmp_path)):
        session = residual_session(RECIPES[name], memory=Memory(store, {}) if store else None)
        session.train(until=6)
        session.prune_channels(scale_scores(session))
        session.train(until=20)
        assert_nothing_came_back(session)
        session.train()
        session.finish()
        ends.append((session.snapshot().state, session.channels, session.course.ticket.state))
        spent.append(session.account.spent.steps_looked_up)
    for end in ends[1:]:
        assert all(states_equal(one, other) for one, other in zip(ends[0], end, strict=True))
    assert spent == [0, 0, 30]


def test_channels_are_part_of_what_training_depends_on(tmp_path):
    # The same masks of weights, with and without the biases that belong to removed channels.
    session = make_session()
    session.prune_channels({"fc2.weight": torch.arange(8.0)}, 0.1)
    masks = session.masks
    for channels in (session.channels, {}):
        other = Session(Setup(session._network, examples(70), examples(20, 1), RECIPES["sgd"], 0.5, 0))
        other._memory = Memory(Store(tmp_path), {})
        other._memory.attach(other)
        other.adopt(masks, channels)
        other.train()
        assert other.account.spent.steps_computed == 30
        assert bool(other.model.fc2.bias[~session.channels["fc2.weight"]].any()) == (not channels)


def test_a_ticket_and_an_outcome_hold_the_channels(tmp_path):
    session = residual_session(sparsity=0.8)
    session.prune_channels(scale_scores(session))
    session.train()
    session.finish()
    made = take(tmp_path / "outcome", hand_over(tmp_path / "outcome", outcome([session])))
    assert states_equal(made.channels, session.channels)
    for name, channel in session.channels.items():
        assert _layer(made, name, None).channels == int(channel.sum())
    assert _layer(made, "fc.weight", None).channels is msgspec.UNSET
    ticket = Ticket(0, made.states["start"], made.masks, made.states["last"], made.channels)
    back = read_ticket(tmp_path / "ticket", write_ticket(tmp_path / "ticket", ticket))
    assert states_equal(back.channels, session.channels)
    again = residual_session(sparsity=0.8)
    again.adopt(back.masks, back.channels)
    again.train()
    assert states_equal(again.snapshot().state, session.snapshot().state)


def test_looking_at_channels_leaves_nothing_behind():
    session, other = residual_session(), residual_session()
    for one in (session, other):
        one.train(until=3)
    before, noise = session.snapshot().state, torch.get_rng_state()
    session.channel_masks(scale_scores(session))
    inner(session.topology.structure, session.weights)
    session.flops(session.masks)
    assert torch.equal(noise, torch.get_rng_state()) and session.model.training
    assert states_equal(before, session.snapshot().state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in session.model.modules())
    for one in (session, other):
        one.train()
    assert states_equal(session.snapshot().state, other.snapshot().state)
