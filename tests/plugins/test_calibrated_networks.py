"""What calibration sees of attention and convolutions, what it costs, and how much memory it takes."""

from __future__ import annotations

from itertools import accumulate

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lth_bench.conformance import small_session
from lth_bench.data.examples import Batch, Examples
from lth_bench.errors import Unsuitable
from lth_bench.methods.calibration import gram, input_norms, layer_calls
from lth_bench.models.timm_models import make_model
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import recipe
from support.pairs import kept, pruner

SHAPE = (3, 32, 32)
NETWORKS = {"test_vit": {}, "test_convnext": {}}


def session_of(network, count=8, **target):
    """A Session on random images, in a network whose weights come out of a file."""
    torch.manual_seed(0)
    images = torch.rand(count, *SHAPE)
    return small_session(lambda: network, images, torch.arange(count) % 2, **target)


def checkpoint(name, path):
    torch.manual_seed(1)
    network = make_model(name, NETWORKS[name], SHAPE, 2)
    safetensors.torch.save_file(network.state_dict(), path)
    fresh = make_model(name, NETWORKS[name], SHAPE, 2)
    fresh.load_state_dict(safetensors.torch.load_file(path))
    return fresh


@pytest.mark.parametrize("method", ["l1_filter", "taylor"])
def test_methods_of_channels_prune_neurons_of_theirs_or_say_why_not(method, tmp_path):
    quick = {"batches": 1, "examples": 4, "rounds": 1} if method == "taylor" else {}
    for name in NETWORKS:
        session = session_of(checkpoint(name, tmp_path / "weights.safetensors"), sparsity=0.3)
        with pytest.raises(Unsuitable, match=r"layers to \"all\""):
            pruner(method, {"layers": "convolutions", **quick})(session)
        session = session_of(checkpoint(name, tmp_path / "weights.safetensors"), sparsity=0.3)
        pruner(method, {"layers": "all", **quick, "retraining": "learning_rate_rewinding"})(session)
        assert session.channels and kept(session) <= 0.7 * sum(mask.numel() for mask in session.masks.values())


def peak(call):
    """The bytes that torch has allocated at most while calling this, beyond those from before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def size(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
@pytest.mark.parametrize(
    ("method", "arguments", "hessians"), [("wanda", {}, 0), ("sparsegpt", {}, 3), ("sparsegpt", {"inputs": "dense"}, 3)]
)
def test_pruning_by_calibration_takes_less_memory_than_a_second_network(name, method, arguments, hessians):
    """Beside what a plain pass takes, and the largest layer: a copy or two and, for SparseGPT, its Hessian in float64.

    SparseGPT has two Hessians in float64 at a time, and one in float32.
    """
    model = make_model(name, {"patch_size": 4} if "vit" in name else {}, SHAPE, 2)
    data = Examples(torch.rand(8, *SHAPE), torch.arange(8) % 2)
    session = Session(Setup(lambda seed: model, data, data, recipe(duration="0it", batch_size=8), 0.5, 0))
    batch, network, masks = session.sample(8), size(session.model.parameters()), size(session.masks.values())
    with torch.no_grad():
        activations = peak(lambda: session.model(batch.inputs))
    layer, columns = (max(map(of, session.weights.values())) for of in (torch.numel, lambda w: w[0].numel()))
    taken = peak(lambda: pruner(method, {"examples": 8, **arguments})(session))
    assert kept(session) == round(0.5 * masks)
    assert network + masks + taken < 2 * network + activations + 2 * 4 * layer + hessians * 8 * columns**2


class Attention(nn.Module):
    """Tokens that attend to themselves, or to others, and the sum of what comes of it."""

    def __init__(self, fused, *, crossed):
        super().__init__()
        self.attention, self.fused, self.crossed = nn.MultiheadAttention(8, 2, batch_first=True), fused, crossed

    def forward(self, images):
        tokens = images[:, 0, :4, :8]
        others = tokens.flip(1) ** 2 if self.crossed else tokens
        return self.attention(tokens, others, others if self.fused else others + 1)[0].sum(1)[:, :2]


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_fused_projections_of_attention_are_seen_part_by_part(fused, crossed):
    network = Attention(fused, crossed=crossed)
    session = session_of(network)
    batch = session.sample(8)
    calls = layer_calls(session, batch)
    tokens = batch.inputs[:, 0, :4, :8].reshape(-1, 8)
    others = (batch.inputs[:, 0, :4, :8].flip(1) ** 2).reshape(-1, 8) if crossed else tokens
    expected = [rows.T @ rows for rows in (tokens, others, others if fused else others + 1)]
    grams = gram(session, [batch], "attention.in_proj_weight", calls)
    assert len(grams) == (3 if crossed or not fused else 1)
    for ours, theirs in zip(grams, expected, strict=False):
        assert torch.allclose(ours, theirs, rtol=1e-4)
    norms = input_norms(session, [batch])["attention.in_proj_weight"]
    rows = torch.stack([theirs.diagonal() for theirs in expected]).sqrt().repeat_interleave(8, 0)
    assert torch.allclose(norms, rows, rtol=1e-4)
    pruner("sparsegpt", {"examples": 8}).prune_all(session)
    assert kept(session) == round(0.5 * sum(mask.numel() for mask in session.masks.values()))


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": 1},
        {"padding": 2, "stride": 2, "dilation": 2},
        {"kernel_size": (3, 1), "padding": (1, 0), "groups": 2},
        {"padding": "same", "dilation": (1, 2), "bias": False},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": 1, "groups": 4},
    ],
    ids=str,
)
def test_grams_of_convolutions_are_those_of_what_filters_see(arguments):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, **{"kernel_size": 3, **arguments}).double()
    images = torch.randn(5, 4, 6, 7).double()
    network = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    session = small_session(lambda: network, images, torch.zeros(5, dtype=torch.long))
    grams = gram(session, [Batch(images[:2], None), Batch(images[2:], None)], "0.weight", ["0.weight"])
    filters = conv.weight.detach().flatten(1).unflatten(0, (conv.groups, -1))
    outputs = conv(images).detach() - (0 if conv.bias is None else conv.bias.detach().view(1, -1, 1, 1))
    outputs = outputs.movedim(1, 0).flatten(1).unflatten(0, (conv.groups, -1))
    assert torch.allclose(filters @ grams @ filters.mT, outputs @ outputs.mT)


class Twice(nn.Module):
    """A layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, inputs):
        return self.layer(self.layer(inputs))


def test_a_layer_is_seen_as_often_as_it_is_used():
    network, inputs = Twice(), torch.randn(3, 4)
    session = small_session(lambda: network, inputs, torch.zeros(3, dtype=torch.long))
    batch = session.sample(3)
    assert layer_calls(session, batch) == ["layer.weight"] * 2
    rows = torch.cat([batch.inputs, network.layer(batch.inputs)]).detach()
    assert torch.allclose(gram(session, [batch], "layer.weight", ["layer.weight"] * 2)[0], rows.T @ rows)


def test_calibration_is_charged_and_leaves_the_network_alone():
    session = session_of(make_model("test_vit", {}, SHAPE, 2))
    before, noise = {name: v.clone() for name, v in session.model.state_dict().items()}, torch.get_rng_state()
    batch = session.sample(8)
    with session.account.metered():
        calls = layer_calls(session, batch)
        gram(session, [batch], calls[0], calls)
        early = session.account.ledger.events[-1].flops
        gram(session, [batch], calls[-1], calls)
    late = session.account.ledger.events[-1].flops - early
    assert 0 < early < late
    assert all(torch.equal(value, before[name]) for name, value in session.model.state_dict().items())
    assert torch.equal(noise, torch.get_rng_state()) and session.model.training
