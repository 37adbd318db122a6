"""The overlap that masks have by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth_bench.results.chance import chance_overlaps, excess
from lth_bench.storage.record import LayerSparsity

SIZES = {"a": 40, "b": 7, "c": 1}


def counts(mask):
    return {name: LayerSparsity(bits.size, int(bits.sum()), 0) for name, bits in mask.items()}


def jaccard(one, other):
    both = sum(int((one[name] & other[name]).sum()) for name in one)
    return both / (sum(int(bits.sum()) for mask in (one, other) for bits in mask.values()) - both)


def drawn(generator, size, kept):
    return generator.permutation(size) < kept


def test_chance_is_taken_layer_by_layer():
    """4 and 2 of 8 weights share 1 by chance, 1 and 4 of 4 share 1: 2 of 11 - 2 weights."""
    one = {"a": LayerSparsity(8, 4, 0), "b": LayerSparsity(4, 1, 0)}
    other = {"b": LayerSparsity(4, 4, 0), "a": LayerSparsity(8, 2, 0)}
    levels = chance_overlaps([one, other])
    assert levels[0, 1] == levels[1, 0] == pytest.approx(2 / 9)
    assert levels[0, 0] == pytest.approx((16 / 8 + 1 / 4) / (10 - 16 / 8 - 1 / 4))


def test_chance_is_unknown_of_different_networks_and_of_empty_masks():
    empty, full, wide = ({"a": LayerSparsity(size, mask, 0)} for size, mask in ((8, 0), (8, 8), (9, 9)))
    assert np.isnan(chance_overlaps([full, wide])).all()
    levels = chance_overlaps([empty, full])
    assert np.isnan(levels[0, 0]) and levels[0, 1] == 0 and levels[1, 1] == 1
    assert np.isnan(excess(np.ones(1), np.ones(1))).all()  # masks that keep all overlap, whatever chose them


def test_random_masks_overlap_far_but_not_above_chance():
    generator = np.random.default_rng(0)
    kept = {"a": 90_000, "b": 4_000}
    sizes = {"a": 100_000, "b": 20_000}
    one, other = ({name: drawn(generator, sizes[name], kept[name]) for name in sizes} for _ in range(2))
    overlap, chance = jaccard(one, other), chance_overlaps([counts(one), counts(other)])[0, 1]
    assert overlap > 0.75
    assert abs(excess(np.array([overlap]), np.array([chance]))[0]) < 0.01


def test_the_excess_does_not_grow_with_layers_that_masks_keep_whole():
    """Masks that agree on which layers to keep, and by chance within layers, do not agree above chance."""
    generator = np.random.default_rng(1)
    one, other = ({"a": np.ones(10_000, bool), "b": drawn(generator, 100_000, 1_000)} for _ in range(2))
    overlap, chance = jaccard(one, other), chance_overlaps([counts(one), counts(other)])[0, 1]
    assert overlap > 0.8
    assert abs(excess(np.array([overlap]), np.array([chance]))[0]) < 0.02


masks = st.fixed_dictionaries({name: st.lists(st.booleans(), min_size=n, max_size=n) for name, n in SIZES.items()})


@given(masks, masks)
def test_the_excess_lies_between_minus_one_and_one_and_is_one_only_for_equal_masks(one, other):
    pair = [{name: np.array(bits) for name, bits in mask.items()} for mask in (one, other)]
    if not any(bits.any() for mask in pair for bits in mask.values()):
        return
    overlap = np.array([jaccard(*pair)])
    (found,) = excess(overlap, chance_overlaps([counts(mask) for mask in pair])[:1, 1])
    if all(bits.all() for mask in pair for bits in mask.values()):
        assert np.isnan(found)
    elif not np.isnan(found):
        assert -1 <= found <= 1 + 1e-12
        assert (one == other) == (found > 1 - 1e-9)
