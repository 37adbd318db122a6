import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from lth_bench.pruning import masks
from lth_bench.pruning.allocation import kept_count

shapes = st.lists(array_shapes(min_dims=1, max_dims=4, max_side=5), min_size=1, max_size=4)
sparsities = st.floats(0, 1)
seeds = st.integers(0, 2**31)


def layers(shapes, seed, levels=None):
    """Scores and full masks; with few levels there are many ties."""
    generator = torch.Generator().manual_seed(seed)
    draw = (lambda s: torch.randint(0, levels, s, generator=generator).float()) if levels else None
    scores = {f"l{i}": draw(s) if draw else torch.rand(s, generator=generator) for i, s in enumerate(shapes)}
    return scores, masks.full(scores)


@given(shapes, sparsities, seeds, st.sampled_from([None, 1, 3]))
def test_the_count_is_exact_even_with_ties(shapes, sparsity, seed, levels):
    scores, full = layers(shapes, seed, levels)
    kept = masks.pruned(scores, full, sparsity)
    size = sum(score.numel() for score in scores.values())
    assert sum(masks.kept(kept).values()) == kept_count(sparsity, size)


@given(shapes, sparsities, seeds, st.sampled_from([None, 3]))
def test_what_is_kept_scores_no_lower_than_what_is_pruned(shapes, sparsity, seed, levels):
    scores, full = layers(shapes, seed, levels)
    kept = masks.pruned(scores, full, sparsity)
    alive = torch.cat([scores[name][mask] for name, mask in kept.items()])
    dead = torch.cat([scores[name][~mask] for name, mask in kept.items()])
    assert not len(alive) or not len(dead) or alive.min() >= dead.max()


@given(shapes, sparsities, sparsities, seeds)
def test_pruning_twice_is_nested(shapes, first, second, seed):
    scores, full = layers(shapes, seed)
    once = masks.pruned(scores, full, min(first, second))
    other, _ = layers(shapes, seed + 1)
    twice = masks.pruned(other, once, max(first, second))
    assert all((~once[name] & twice[name]).sum() == 0 for name in once)


def test_ties_go_to_the_earlier_weight():
    scores = {"a": torch.ones(3), "b": torch.ones(2, 2)}
    kept = masks.pruned(scores, masks.full(scores), 3 / 7)
    assert kept["a"].tolist() == [True, True, True]
    assert kept["b"].tolist() == [[True, False], [False, False]]


def test_a_dict_prunes_each_layer_to_its_own_target():
    scores = {"a": torch.tensor([1.0, 2, 3, 4]), "b": torch.tensor([40.0, 30, 20, 10])}
    kept = masks.pruned(scores, masks.full(scores), {"a": 0.5, "b": 0.75})
    assert kept["a"].tolist() == [False, False, True, True]
    assert kept["b"].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"a": torch.ones(2)}, "'a' have shape"),
        ({"a": torch.tensor([1.0, float("nan"), 1])}, "'a' are NaN"),
        ({"a": torch.tensor([1.0, float("inf"), 1])}, "'a' are NaN or infinite"),
        ({"c": torch.ones(3)}, "['c'], which are not prunable"),
    ],
)
def test_scores_that_do_not_fit_are_refused_with_the_layer_named(change, words):
    scores = {"a": torch.ones(3), "b": torch.ones(2)}
    with pytest.raises(masks.MaskError) as error:
        masks.pruned(scores | change, masks.full(scores), 0.5)
    assert words in str(error.value)


def test_scores_of_what_is_pruned_do_not_matter():
    scores = {"a": torch.tensor([1.0, 2, 3, 4])}
    once = masks.pruned(scores, masks.full(scores), 0.5)
    again = {"a": torch.tensor([-torch.inf, torch.nan, 3, 4])}
    assert masks.pruned(again, once, 0.75)["a"].tolist() == [False, False, False, True]


def test_missing_layers_and_impossible_targets_are_refused():
    scores = {"a": torch.ones(4), "b": torch.ones(4)}
    full = masks.full(scores)
    with pytest.raises(masks.MaskError, match=r"no scores given for the prunable layers \['b'\]"):
        masks.pruned({"a": torch.ones(4)}, full, 0.5)
    with pytest.raises(masks.MaskError, match="only 4 are left"):
        masks.pruned(scores, masks.pruned(scores, full, 0.5), 0.25)
    with pytest.raises(masks.MaskError, match=r"must lie in \[0, 1\]"):
        masks.pruned(scores, full, -0.1)


def test_masks_that_are_not_boolean_are_refused():
    full = masks.full({"a": torch.ones(3)})
    with pytest.raises(masks.MaskError, match="must be boolean"):
        masks.check_masks({"a": torch.tensor([1.0, 0.5, 0])}, full)
    with pytest.raises(masks.MaskError, match="has shape"):
        masks.check_masks({"a": torch.ones(2, dtype=torch.bool)}, full)
