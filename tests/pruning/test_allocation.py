import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from lth_bench.methods.rounds import global_rounds, layerwise, layerwise_rounds, uniform_rounds
from lth_bench.pruning.allocation import (
    DISTRIBUTIONS,
    er,
    er_densities,
    erk,
    erk_densities,
    first_dense,
    kept_count,
    uniform,
)

LENET = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
RATES = {"fc1": 0.2, "fc2": 0.2, "fc3": 0.1}
shapes = st.lists(array_shapes(min_dims=1, max_dims=4, max_side=9), min_size=1, max_size=6).map(
    lambda found: {f"l{i}": shape for i, shape in enumerate(found)}
)
sparsities = st.floats(0, 0.999)


def counts(shapes, by_layer):
    return {name: kept_count(by_layer[name], math.prod(shape)) for name, shape in shapes.items()}


@given(shapes, sparsities, st.sampled_from([uniform, er, erk]))
def test_the_layers_add_up_to_the_target_to_one_weight(shapes, sparsity, spread):
    size = sum(math.prod(shape) for shape in shapes.values())
    assert sum(counts(shapes, spread(shapes, sparsity)).values()) == kept_count(sparsity, size)


@given(shapes, sparsities, st.floats(0.05, 0.9), st.floats(0.05, 0.9))
def test_layerwise_rounds_are_nested_and_end_at_the_target(shapes, sparsity, rate, output_rate):
    rates = {name: output_rate if name == list(shapes)[-1] else rate for name in shapes}
    rounds = [counts(shapes, by_layer) for by_layer in layerwise_rounds(shapes, sparsity, rates)]
    for earlier, later in pairwise(rounds):
        assert all(later[name] <= earlier[name] for name in shapes)
    size = sum(math.prod(shape) for shape in shapes.values())
    if sparsity > 0:
        assert sum(rounds[-1].values()) == kept_count(sparsity, size)
    else:
        assert rounds == []


def test_layerwise_rounds_of_lenet_are_those_of_the_paper():
    # Frankle & Carbin 2019, figure 3: 51.3 %, 21.1 % and 3.6 % of the weights are left after 3, 7 and 15 rounds.
    for number, left in ((3, 0.513), (7, 0.211), (15, 0.036)):
        rounds = layerwise_rounds(LENET, 1 - (265_200 * 0.8**number + 1000 * 0.9**number) / 266_200, RATES)
        assert len(rounds) == number
        assert sum(counts(LENET, rounds[-1]).values()) / 266_200 == pytest.approx(left, abs=5e-4)
    assert counts(LENET, rounds[-1])["fc3"] == pytest.approx(1000 * 0.9**15, abs=1)


def test_layerwise_of_a_random_mask_is_the_last_round_of_imp():
    assert layerwise(LENET, 0.9641, RATES) == layerwise_rounds(LENET, 0.9641, RATES)[-1]


def test_a_layer_may_be_left_alone_if_the_target_can_still_be_reached():
    rates = {**RATES, "fc3": 0.0}
    assert counts(LENET, layerwise(LENET, 0.9, rates))["fc3"] == 1000
    with pytest.raises(ValueError, match="cannot be reached: layers of rate 0 hold 1000 weights"):
        layerwise(LENET, 0.999, rates)
    with pytest.raises(ValueError, match=r"rates must lie in \[0, 1\)"):
        layerwise(LENET, 0.9, {**RATES, "fc1": 1.0})


def test_erk_by_hand():
    # Raw densities (10+4)/40 = 0.35 and (4+2)/8 = 0.75; a budget of 24 of 48 gives a scale of 24/20 = 1.2.
    assert erk_densities({"a": (10, 4), "b": (4, 2)}, 0.5) == pytest.approx({"a": 0.42, "b": 0.9})
    # At 0.4 the second layer would pass 1: it is dense, and the first takes what is left of 28.8.
    assert erk_densities({"a": (10, 4), "b": (4, 2)}, 0.4) == pytest.approx({"a": 20.8 / 40, "b": 1.0})


def test_er_by_hand():
    # Kernels do not count: (10+4)/40 = 0.35 of each of 40 · 9 weights and (4+2)/8 = 0.75 of 8; a budget of 110.4 of 368
    # gives a scale of 110.4/132 = 0.8364. With kernels, (10+4+3+3)/360 · 360 + 6 = 26 is 110.4 at 4.2462.
    shapes = {"a": (10, 4, 3, 3), "b": (4, 2)}
    assert er_densities(shapes, 0.7) == pytest.approx({"a": 0.35 * 110.4 / 132, "b": 0.75 * 110.4 / 132})
    assert erk_densities(shapes, 0.7) == pytest.approx({"a": 102.4 / 360, "b": 1.0})
    # 0.3 · 368 = 110 weights of 105.4 and 5.02.
    assert counts(shapes, er(shapes, 0.7)) == {"a": 105, "b": 5}


@given(shapes, sparsities, st.sampled_from(sorted(DISTRIBUTIONS)))
def test_a_dense_first_layer_changes_nothing_about_the_total(shapes, sparsity, name):
    try:
        found = counts(shapes, DISTRIBUTIONS[name](shapes, sparsity))
    except ValueError:
        assert name.endswith("first_dense")
        return
    size = sum(math.prod(shape) for shape in shapes.values())
    assert sum(found.values()) == kept_count(sparsity, size)
    if name.endswith("first_dense"):
        assert found["l0"] == math.prod(shapes["l0"])


def test_a_dense_first_layer_by_hand():
    # 24 of 48 weights are left; 8 of them are the first layer's, so that the others have 16 of 40.
    shapes = {"a": (4, 2), "b": (10, 2), "c": (5, 4)}
    assert counts(shapes, first_dense(uniform, shapes, 0.5)) == {"a": 8, "b": 8, "c": 8}
    # 12 to 9: (12, 9)/21 of 16 are 9.14 and 6.86.
    assert counts(shapes, first_dense(erk, shapes, 0.5)) == {"a": 8, "b": 9, "c": 7}
    assert counts(shapes, first_dense(uniform, shapes, 38 / 48)) == {"a": 8, "b": 1, "c": 1}
    with pytest.raises(ValueError, match="leaves 9 weights to 3 layers, and 'a' alone has 8; take a distribution"):
        first_dense(uniform, shapes, 39 / 48)
    with pytest.raises(ValueError, match="with a dense first layer cannot be reached: it leaves 26620"):
        first_dense(uniform, LENET, 0.9)
    assert first_dense(erk, {"a": (4, 2)}, 0.0) == {"a": 0.0}


@given(shapes, st.lists(sparsities, min_size=1, max_size=8))
def test_uniform_rounds_are_nested_uniform_and_end_at_the_target(shapes, found):
    rising = sorted(found)
    rounds = [counts(shapes, by_layer) for by_layer in uniform_rounds(shapes, rising)]
    for earlier, later in pairwise(rounds):
        assert all(later[name] <= earlier[name] for name in shapes)
    for sparsity, kept in zip(rising, rounds, strict=True):
        assert all(abs(kept[name] - (1 - sparsity) * math.prod(shape)) < 1 for name, shape in shapes.items())
    assert sum(rounds[-1].values()) == kept_count(rising[-1], sum(math.prod(shape) for shape in shapes.values()))
    assert uniform_rounds(shapes, []) == []


def test_global_rounds_are_trimmed_to_the_target():
    assert global_rounds(0.5, 0.2) == pytest.approx([0.2, 0.36, 0.488, 0.5])
    assert global_rounds(0.36, 0.2) == pytest.approx([0.2, 0.36])
    assert global_rounds(0.0, 0.2) == []
