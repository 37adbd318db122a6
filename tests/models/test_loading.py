"""Weights from files: what is read, what fits, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
import safetensors.torch
import torch
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.models.loading import load_weights, read_weights


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))


@pytest.fixture
def weights():
    torch.manual_seed(5)
    return network().state_dict()


def digest(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def written(path, state):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


def fault(weights, left_out=()):
    with pytest.raises(ModelError) as error:
        load_weights(network(), weights, left_out)
    return str(error.value)


def unreadable(path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        read_weights(path, digest(path))
    return str(error.value)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_has_the_weights_and_buffers_of_the_file(tmp_path, weights, name, prefix):
    path = written(tmp_path / name, {f"{prefix}{key}": value for key, value in weights.items()})
    mine = network()
    load_weights(mine, read_weights(path, digest(path)))
    assert all(torch.equal(mine.state_dict()[key], value) for key, value in weights.items())


def test_halves_become_floats(weights):
    mine = network()
    load_weights(mine, {key: v.half() if v.is_floating_point() else v for key, v in weights.items()})
    assert mine[1].weight.dtype == torch.float32
    assert torch.equal(mine[1].weight, weights["1.weight"].half().float())


def test_all_that_does_not_fit_is_named(weights):
    del weights["2.bias"]
    weights |= {"1.weight": torch.zeros(3, 5), "fc.weight": torch.zeros(2), "2.running_var": torch.ones(3).int()}
    assert fault(weights) == (
        "the weights of the file do not fit: 1.weight is 3×5 in the file and 3×4 in the model, 2.bias is missing, "
        "2.running_var is 3 of int32 in the file and 3 in the model, the model has no fc.weight; take the model that "
        "they are of"
    )


def test_another_architecture_is_told_by_its_first_names_and_a_count():
    others = {f"layer{i}.weight": torch.zeros(1) for i in range(5)}
    assert fault(others).startswith(
        "the weights of the file do not fit: 1.weight is missing, 1.bias is missing, 2.weight is missing, "
        "2.bias is missing, 2.running_mean is missing, 2.running_var is missing, and 8 more; take"
    )


def test_an_output_layer_is_replaced_only_where_that_is_asked_for(weights):
    weights |= {"4.weight": torch.zeros(7, 3), "4.bias": torch.zeros(7)}
    assert fault(weights) == (
        "the weights of the file do not fit: 4.weight is 7×3 in the file and 2×3 in the model, 4.bias is 7 in the file "
        "and 2 in the model; output_layer = 'new' draws another output layer"
    )
    mine = network()
    drawn = mine[4].weight.detach().clone()
    load_weights(mine, weights, ["4.weight"])
    assert torch.equal(mine[4].weight, drawn)
    assert torch.equal(mine[1].weight, weights["1.weight"])
    load_weights(mine, {key: value for key, value in weights.items() if key[0] != "4"}, ["4.weight"])
    weights["1.bias"] = torch.zeros(9)
    assert "1.bias is 9 in the file and 3 in the model; take the model" in fault(weights, ["4.weight"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(weights, value):
    weights["1.bias"][1] = value
    assert fault(weights) == ("the weights of the file are not all finite: 1.bias; take those of a sound network")


def test_infinite_constants_of_buffers_are_sound_but_nan_is_not(weights):
    weights["2.running_var"][0] = float("inf")
    load_weights(network(), weights)
    weights["2.running_var"][0] = float("nan")
    assert "not all finite: 2.running_var;" in fault(weights)


class Malicious:
    def __reduce__(self):
        return print, ("the file has run code",)


def test_a_file_never_runs_code(tmp_path, capsys):
    torch.save({"1.weight": Malicious()}, tmp_path / "a.pth")
    words = unreadable(tmp_path / "a.pth")
    assert "a.pth is damaged, or holds objects that could run code when they are read (UnpicklingError); save" in words
    assert capsys.readouterr().out == ""


def test_files_of_something_else_are_refused(tmp_path, weights):
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "a.pth")
    assert "a.pth is no state dict, which has a tensor for every name; save" in unreadable(tmp_path / "a.pth")
    torch.save(weights["1.weight"], tmp_path / "b.pth")
    assert "b.pth is no state dict" in unreadable(tmp_path / "b.pth")
    torch.save({0: weights["1.weight"]}, tmp_path / "e.pth")
    assert "e.pth is no state dict" in unreadable(tmp_path / "e.pth")
    assert "c.pth is damaged, or holds objects" in unreadable(tmp_path / "c.pth", b"nonsense")
    assert "d.safetensors is damaged (" in unreadable(tmp_path / "d.safetensors", b"nonsense")


def test_a_file_that_has_changed_or_gone_is_refused(tmp_path, weights):
    path = written(tmp_path / "a.safetensors", weights)
    before = digest(path)
    written(path, {key: value * 2 for key, value in weights.items()})
    with pytest.raises(ModelError, match="has changed since the run was planned; start the run again"):
        read_weights(path, before)
    path.unlink()
    with pytest.raises(ModelError, match=r"a\.safetensors cannot be read: "):
        read_weights(path, before)
