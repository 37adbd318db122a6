import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from lth_bench.allocation import (
    erk,
    erk_densities,
    global_rounds,
    kept_count,
    layerwise,
    layerwise_rounds,
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


@given(shapes, sparsities, st.sampled_from([uniform, erk]))
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
    with pytest.raises(ValueError, match=r"a rate lies in \[0, 1\)"):
        layerwise(LENET, 0.9, {**RATES, "fc1": 1.0})


def test_erk_by_hand():
    # Raw densities (10+4)/40 = 0.35 and (4+2)/8 = 0.75; a budget of 24 of 48 gives a scale of 24/20 = 1.2.
    assert erk_densities({"a": (10, 4), "b": (4, 2)}, 0.5) == pytest.approx({"a": 0.42, "b": 0.9})
    # At 0.4 the second layer would pass 1: it is dense, and the first takes what is left of 28.8.
    assert erk_densities({"a": (10, 4), "b": (4, 2)}, 0.4) == pytest.approx({"a": 20.8 / 40, "b": 1.0})


def test_global_rounds_are_trimmed_to_the_target():
    assert global_rounds(0.5, 0.2) == pytest.approx([0.2, 0.36, 0.488, 0.5])
    assert global_rounds(0.36, 0.2) == pytest.approx([0.2, 0.36])
    assert global_rounds(0.0, 0.2) == []
