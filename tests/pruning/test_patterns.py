import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.errors import MaskError, Unsuitable
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import Pattern, parsed
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.scores import magnitude
from lth_bench.methods.sparse_training import Explored
from lth_bench.models.timm_models import make_model
from lth_bench.pruning import masks, patterns
from lth_bench.pruning.allocation import kept_count, sizes_of
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import make_session

chosen = st.sampled_from([Pattern(1, 2), Pattern(2, 4), Pattern(1, 4), Pattern(3, 4), Pattern(4, 8)])
seeds = st.integers(0, 2**31)


@st.composite
def networks(draw):
    """A pattern and the shapes of layers, linear and convolutional, of which one at least can hold it."""
    pattern = draw(chosen)
    outputs, groups, side = st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)
    fitting = st.builds(lambda o, g, *k: (o, g * pattern.of, *k), outputs, groups)
    convolutions = st.builds(lambda o, g, k, j: (o, g * pattern.of, k, j), outputs, groups, side, side)
    others = st.builds(lambda o, i, k: (o, i, k, k), outputs, st.integers(1, 9), side)
    shapes = [draw(fitting), *draw(st.lists(fitting | convolutions | others, max_size=3))]
    return pattern, {f"l{number}": shape for number, shape in enumerate(shapes)}


def scored(shapes, seed, levels=None):
    """Scores by layer; with few levels there are many ties."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return {name: torch.randint(0, levels, shape, generator=generator).float() for name, shape in shapes.items()}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def rows(tensor):
    """The inputs of each output, in order, at each position of the kernel."""
    return tensor.movedim(1, -1).reshape(-1, tensor.shape[1]).tolist()


def best_places(scores, kept):
    """The places of the highest of a group, ties going to the earlier one."""
    return set(sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:kept])


@given(networks(), seeds, st.sampled_from([None, 1, 3]))
def test_at_its_target_every_group_keeps_exactly_its_best(network, seed, levels):
    pattern, shapes = network
    scores = scored(shapes, seed, levels)
    found = patterns.pruned(scores, masks.full(scores), patterns.reached(pattern, shapes), pattern)
    for name, mask in found.items():
        if not pattern.fits(shapes[name]):
            assert mask.all()
            continue
        for values, keeps in zip(rows(scores[name]), rows(mask), strict=True):
            for start in range(0, len(values), pattern.of):
                group, kept = values[start : start + pattern.of], keeps[start : start + pattern.of]
                assert {place for place, keep in enumerate(kept) if keep} == best_places(group, pattern.kept)


@given(networks(), seeds, st.lists(st.floats(0, 1), max_size=3))
def test_on_the_way_the_count_is_exact_and_the_pattern_stays_possible(network, seed, shares):
    pattern, shapes = network
    target, size = patterns.reached(pattern, shapes), sum(sizes_of(shapes).values())
    found = masks.full(scored(shapes, seed))
    for number, share in enumerate([*sorted(shares), 1.0]):
        scores, before = scored(shapes, seed + number), found
        found = patterns.pruned(scores, before, share * target, pattern)
        assert sum(masks.kept(found).values()) == kept_count(share * target, size)
        assert not any((found[name] & ~before[name]).any() for name in found)
    held = [name for name, shape in shapes.items() if pattern.fits(shape)]
    assert not any(patterns.excess(found[name], pattern) for name in held)
    assert sum(masks.kept(found).values()) == patterns.kept_count(pattern, shapes)


def test_a_dict_prunes_each_layer_as_far_as_its_groups_allow_and_leaves_layers_dense():
    scores = {"a": torch.tensor([[8.0, 1, 2, 3]]), "b": torch.tensor([[1.0, 2, 3, 4]])}
    found = patterns.pruned(scores, masks.full(scores), {"a": 0.75, "b": 0.0}, Pattern(2, 4))
    assert found["a"].tolist() == [[True, False, False, True]] and found["b"].all()


def test_a_dict_whose_total_is_the_target_gives_way_to_the_pattern():
    scores = {"a": torch.tensor([[8.0, 1, 2, 3]]), "b": torch.tensor([[1.0, 2, 3, 4]])}
    found = patterns.pruned(scores, masks.full(scores), {"a": 0.75, "b": 0.25}, Pattern(2, 4))
    assert [mask.sum().item() for mask in found.values()] == [2, 2]


def test_groups_of_a_convolution_are_input_channels_at_one_position():
    weight = torch.arange(1.0, 9).view(1, 4, 1, 2)  # channels 1 2, 3 4, 5 6, 7 8
    found = patterns.pruned({"c": weight}, masks.full({"c": weight}), 0.5, Pattern(2, 4))["c"]
    assert found[0, :, 0].tolist() == [[False, False], [False, False], [True, True], [True, True]]
    assert found.is_contiguous()


def test_a_pruned_weight_may_have_any_score():
    scores, before = {"a": torch.tensor([[torch.nan, 1, 2, 3]])}, {"a": torch.tensor([[False, True, True, True]])}
    assert patterns.pruned(scores, before, 0.5, Pattern(2, 4))["a"].tolist() == [[False, False, True, True]]


def test_a_target_above_what_is_left_is_refused():
    scores, before = {"a": torch.ones(1, 4)}, {"a": torch.tensor([[False, False, True, True]])}
    with pytest.raises(MaskError, match="keeps 3 of 4 weights, but only 2 are left"):
        patterns.pruned(scores, before, 0.25, Pattern(2, 4))


def test_masks_hold_a_pattern_where_each_layer_holds_it_or_is_dense_and_not_all_are():
    full, half = torch.ones(2, 8, dtype=torch.bool), torch.tensor([[True, False] * 4, [False] * 8])
    most = half | torch.tensor([[False] * 7 + [True], [False] * 8])
    assert patterns.breach({"a": full, "b": half}, Pattern(2, 4)) is None
    assert patterns.breach({"a": most}, Pattern(2, 4)) == "layer 'a' keeps more than 2 weights in 1 of its 4 groups"
    assert patterns.breach({"a": half}, Pattern(2, 3)) == (
        "layer 'a', whose inputs do not come in groups of 3, is not dense"
    )
    assert patterns.breach({"a": full, "b": full}, Pattern(2, 4)) == "every layer is dense"


def test_dense_layers_are_listed_with_the_cause():
    full, half = torch.ones(2, 8, dtype=torch.bool), torch.tensor([[True, False] * 4] * 2)
    layers = {"a": full, "b": half, **{f"c{number}": torch.ones(2, 3, dtype=torch.bool) for number in range(5)}}
    names, reason = patterns.dense_layers(layers, Pattern(2, 4))
    assert names == ["a", "c0", "c1", "c2", "c3", "c4"]
    assert reason == ("c0, c1, c2 and 2 more dense, as inputs do not come in groups of 4; a left dense by the method")


def grouped():
    """A stem that reads one channel, a grouped and a plain convolution, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(8, 8, 1, groups=2),
        nn.Conv2d(8, 4, 2, groups=4),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def image_session(network, shape, pattern="2:4"):
    data = Examples(torch.rand(8, *shape), torch.arange(8) % 3)
    recipe = Recipe(Duration("4it"), 4, 0.01, measure_every=Duration("2it"))
    return Session(Setup(lambda seed: network(), data, data, recipe, 0.5, 0, pattern=parsed(pattern)))


def test_a_grouped_convolution_counts_the_inputs_of_a_group():
    session = image_session(grouped, (1, 4, 4))
    session.prune(magnitude(session))
    kept = masks.kept(session.masks)
    assert kept == {"0.weight": 72, "1.weight": 16, "2.weight": 32, "4.weight": 6}  # groups of two inputs stay dense
    assert session.sparsity == 1 - sum(kept.values()) / (72 + 32 + 32 + 12)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_transformers_and_convnexts_hold_a_pattern(name):
    session = image_session(lambda: make_model(name, {}, (3, 32, 32), 3), (3, 32, 32))
    session.prune(magnitude(session))
    held = [name for name, shape in session.shapes.items() if shape[1] % 4 == 0]
    assert len(held) > len(session.shapes) / 2
    assert all(masks.kept(session.masks)[name] == session.masks[name].numel() / 2 for name in held)
    assert all(session.masks[name].all() for name in session.shapes if name not in held)


def test_without_a_pattern_a_session_has_none():
    assert make_session().pattern is None and make_session(sparsity=0.7).sparsity == 0.7


def test_a_pattern_decides_the_target():
    session = make_session(sparsity=0.5, pattern="1:4")
    assert session.pattern == Pattern(1, 4) and session.sparsity == pytest.approx(0.75)


def test_inverted_keeps_the_lowest_of_every_group():
    session = make_session(pattern="2:4")
    scores = magnitude(session)
    with session.inverted():
        session.prune(scores)
    lowest = patterns.pruned({name: -score for name, score in scores.items()}, masks.full(scores), 0.5, Pattern(2, 4))
    assert all(torch.equal(lowest[name], mask) for name, mask in session.masks.items())


def test_what_removes_channels_or_replaces_masks_is_refused():
    session = make_session(pattern="2:4")
    channels = {name: torch.rand(shape[0]) for name, shape in session.shapes.items()}
    with pytest.raises(Unsuitable, match=r"removes whole channels does not support patterns.*leave 2:4 out"):
        session.channel_masks(channels)
    with pytest.raises(Unsuitable, match="removes whole channels"):
        session.prune_channels(channels)
    with pytest.raises(Unsuitable, match="replaces masks in training"):
        Explored(session)
    for _ in session.batches():
        with pytest.raises(Unsuitable, match="replaces masks in training"):
            session.rewire(session.masks)
        break


class Best(nn.Module):
    """Gives the two largest of every four."""

    def __init__(self, pattern):
        super().__init__()
        self.pattern = pattern

    def forward(self, weight):
        full = torch.ones_like(weight, dtype=torch.bool)
        return weight * patterns.pruned({"": weight.abs()}, {"": full}, 0.5, self.pattern)[""]


def test_computed_weights_are_refused_unless_their_modules_have_the_pattern():
    session = make_session(pattern="2:4")
    with pytest.raises(Unsuitable, match=re.escape("computes weights by modules without that `pattern`")):
        session.parametrize(lambda layer, weight: nn.Identity())
    session = make_session(pattern="2:4")
    session.parametrize(lambda layer, weight: Best(session.pattern))
    session.train()
    session.bake()
    assert all(weight.count_nonzero() == weight.numel() / 2 for weight in session.weights.values())


def test_a_pattern_that_no_layer_can_hold_is_refused():
    with pytest.raises(Unsuitable, match=r"no prunable layer can hold 2:5.*groups of 5: theirs number 8, 12, 16; ask"):
        make_session(pattern="2:5")
