"""Engines compute what the dense network computes, or say why they cannot."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lth_bench.pruning.masks import full
from lth_bench.speed.applicable import NotApplicable
from lth_bench.speed.engines import ENGINES, Engine, Subject
from lth_bench.speed.feature_major import SparseLinear, with_csr
from lth_bench.speed.measuring import Disagrees, Terms, check, measured
from lth_bench.speed.onnx_runtime import is_installed
from lth_bench.speed.two_four import is_two_four, with_two_four


def subject(*, sparsity=0.9, channels=True) -> Subject:
    """A convolution, batch norm, and two linear layers, of which filters, neurons and single weights are gone."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 10)).eval()
    masks = full({name: weight for name, weight in network.named_parameters() if weight.ndim > 1})
    kept = {}
    if channels:
        kept = {"0.weight": torch.arange(8) < 5, "5.weight": torch.arange(24) % 2 == 0}
        masks["0.weight"][5:] = False
        masks["5.weight"][:, 20:] = masks["5.weight"][1::2] = masks["7.weight"][:, 1::2] = False
    masks["5.weight"] &= torch.rand(24, 32) > sparsity
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
        for name, alive in {"0.bias": 5, "1.weight": 5, "1.bias": 5}.items() if channels else ():
            network.get_parameter(name)[alive:] = 0
        if channels:
            network.get_parameter("5.bias")[1::2] = 0
    return Subject(network, masks, kept, (3, 8, 8))


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "2:4"])
def test_every_engine_has_the_logits_of_the_dense_network_and_leaves_that_as_it_is(name):
    if name.startswith("onnxruntime") and not is_installed():
        pytest.skip("onnxruntime is not installed")
    whole = subject()
    before = {key: value.clone() for key, value in whole.network.state_dict().items()}
    images = torch.randn(5, *whole.shape)
    with torch.no_grad():
        wanted = whole.network(images)
        logits = ENGINES[name].prepare(whole, 1)(images)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in whole.network.state_dict().items())


def test_layers_in_csr_form_pass_activations_on_feature_after_feature():
    layer = SparseLinear(nn.Linear(6, 4))
    inputs = torch.randn(5, 6).T.contiguous().T
    outputs = layer(inputs)
    assert outputs.shape == (5, 4) and outputs.T.is_contiguous() and outputs.relu().T.is_contiguous()
    assert layer.weight.layout == torch.sparse_csr


def test_layers_in_csr_form_take_tokens():
    layer, tokens = nn.Linear(6, 4), torch.randn(2, 3, 6)
    torch.testing.assert_close(SparseLinear(layer)(tokens), layer(tokens))


def test_only_pruned_linear_layers_become_sparse():
    whole = subject(channels=False)
    kinds = [type(layer) for layer in with_csr(whole.network, whole.masks)]
    assert (kinds[5], kinds[7]) == (SparseLinear, nn.Linear)


def test_engines_without_anything_to_gain_say_why():
    whole = subject(channels=False)
    with pytest.raises(NotApplicable, match="no linear layer of it is pruned"):
        with_csr(whole.network, full(whole.masks))
    with pytest.raises(NotApplicable, match="removes no channels"):
        ENGINES["thin"].prepare(whole, 1)
    with pytest.raises(NotApplicable, match="needs a CUDA device"):
        with_two_four(whole.network, whole.masks)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [("11001010", True), ("10000000", True), ("11101000", False), ("00111100", True), ("110010", False)],
)
def test_two_of_each_four_neighbours_are_told(row, wanted):
    mask = torch.tensor([[digit == "1" for digit in row]])
    assert is_two_four(mask) is wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_sparse_tensor_cores_have_the_logits_of_the_dense_network():
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)).cuda().eval()
    masks = {"1.weight": (torch.arange(256) % 4 < 2).expand(128, -1).cuda(), "3.weight": network[3].weight > -9}
    with torch.no_grad():
        network[1].weight.mul_(masks["1.weight"])
    found = measured(Subject(network, masks, {}, (1, 16, 16)), Terms(["2:4"], [1, 64], 1, 0.1))
    assert [item.reason for item in found] == ["", ""]


def test_an_engine_that_computes_otherwise_is_refused_and_not_timed(monkeypatch):
    monkeypatch.setitem(ENGINES, "wrong", Engine(lambda whole, threads: lambda images: whole.network(images) + 1))
    wrong, right = measured(subject(), Terms(["wrong", "thin"], [2], 1, 0.0))
    assert wrong.reason.startswith("refused: its logits differ") and wrong.own is None and wrong.speedup is None
    assert right.reason == "" and right.rounds >= 7 and right.speedup is not None


@pytest.mark.parametrize("logits", [torch.full((1, 3), torch.nan), torch.tensor([[1.0, 2.0, 3.1]]), torch.ones(1, 2)])
def test_other_logits_disagree(logits):
    with pytest.raises(Disagrees):
        check(logits, torch.tensor([[1.0, 2.0, 3.0]]), 1e-3)


def test_an_engine_that_fails_leaves_the_others_their_times(monkeypatch):
    monkeypatch.setitem(ENGINES, "broken", Engine(lambda whole, threads: whole.network.no_such_layer))
    broken, right = measured(subject(), Terms(["broken", "csr"], [2], 1, 0.0))
    assert broken.reason.startswith("failed: AttributeError") and right.speedup is not None


def test_engines_compute_on_the_threads_that_were_asked_for(monkeypatch):
    seen = []

    def spy(whole, threads):
        return lambda images: seen.append((threads, torch.get_num_threads())) or whole.network(images)

    monkeypatch.setitem(ENGINES, "spy", Engine(spy))
    before = torch.get_num_threads()
    measured(subject(), Terms(["spy"], [1], before + 1, 0.0))
    assert set(seen) == {(before + 1, before + 1)} and torch.get_num_threads() == before
