"""Methods that prune a trained network in one shot: SparseGPT and magnitudes by layer, by hand and on timm models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from lth_bench.data.examples import Batch, Examples
from lth_bench.errors import Diverged, Unsuitable
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import parsed
from lth_bench.methods.calibration import gram, layer_calls
from lth_bench.pruning import patterns
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, make_session
from support.pairs import Pair, kept, left, pair_session, pruner

IMAGES = Batch(torch.tensor([[1.0, 2.0], [2.0, 0.0]]), torch.zeros(2, dtype=torch.long))
QUARTER = {"a.weight": 0.25, "b.weight": 0.25}


def of(pattern):
    return pair(Pair, pattern=parsed(pattern))


def pair(network, **others):
    data = Examples(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64))
    recipe = replace(RECIPES["sgd"], batch_size=1)
    return Session(Setup(lambda seed: network(), data, data, recipe, 0.5, 0, **others))


def test_sparsegpt_by_hand():
    # Inputs of A: (1, 2) and (2, 0), so H = [[5, 2], [2, 4]], whose inverse has 1/4 at first. Of its weights, 1 costs
    # 1·4, -2 costs 4·4, 3 costs 9·4 and -4 costs 16·4. Without 1, -2 becomes -2 + 1·2/4.
    # Inputs of B then: (-3, -5) and (0, 6), so H = [[9, 15], [15, 61]]; 0.5 costs 0.25·324/61, the others more.
    # Without 0.5, 2.5 becomes 2.5 + 0.5·15/61.
    session, sparsegpt = pair_session(0.25), pruner("sparsegpt", {"damping": 1e-12})
    sparsegpt.prune(session, [IMAGES], [["a.weight"], ["b.weight"]], QUARTER)
    assert left(session) == [[[0, 1], [1, 1]], [[1, 1], [0, 1]]]
    assert session.weights["a.weight"].tolist() == [[0, pytest.approx(-1.5)], [3, -4]]
    assert session.weights["b.weight"].tolist() == [[5, -6], [0, pytest.approx(2.5 + 0.5 * 15 / 61)]]


def test_sparsegpt_with_the_inputs_of_the_dense_network():
    # B then sees (-3, -5) and (2, 6), so H = [[13, 27], [27, 61]].
    session, sparsegpt = pair_session(0.25), pruner("sparsegpt", {"damping": 1e-12})
    sparsegpt.prune(session, [IMAGES], [["a.weight", "b.weight"]], QUARTER)
    assert session.weights["b.weight"].tolist() == [[5, -6], [0, pytest.approx(2.5 + 0.5 * 27 / 61)]]


def test_sparsegpt_chooses_in_blocks_of_columns_by_the_values_so_far():
    # In blocks of one column, each keeps one weight: the first loses 1, which makes -1.5 of -2, so the second loses it.
    session, sparsegpt = pair_session(0.5), pruner("sparsegpt", {"damping": 1e-12, "columns": 1})
    sparsegpt.prune(session, [IMAGES], [["a.weight"]])
    assert session.masks["a.weight"].int().tolist() == [[0, 0], [1, 1]]


def test_sparsegpt_under_a_pattern():
    # In each row the first weight costs less, and the second makes up for it by half of it.
    session, sparsegpt = of("1:2"), pruner("sparsegpt", {"damping": 1e-12})
    sparsegpt.prune(session, [IMAGES], [["a.weight"], ["b.weight"]])
    assert session.weights["a.weight"].tolist() == [[0, pytest.approx(-1.5)], [0, pytest.approx(-2.5)]]
    assert patterns.breach(session.masks, session.pattern) is None


def test_inputs_that_are_always_zero_lose_their_weights_first():
    session, sparsegpt = pair_session(0.5), pruner("sparsegpt", {})
    dark = Batch(torch.tensor([[0.0, 2.0], [0.0, 1.0]]), torch.zeros(2, dtype=torch.long))
    sparsegpt.prune(session, [dark], [["a.weight"]])
    assert session.masks["a.weight"].int().tolist() == [[0, 1], [0, 1]]
    assert session.weights["a.weight"].tolist() == [[0, -2], [0, -4]]


def test_a_singular_hessian_is_damped_further_and_that_is_noted():
    session = make_session()
    hessian = torch.ones(1, 3, 3, dtype=torch.float64)
    upper, damping = pruner("sparsegpt", {"damping": 1e-18}).factor(hessian, torch.ones(1, 2, 3).double(), session.step)
    assert damping > 1e-18 and bool(upper.isfinite().all())
    one = Batch(torch.ones(2, *session.input_shape), torch.zeros(2, dtype=torch.long))
    pruner("sparsegpt", {"damping": 1e-12}).prune(session, [one], [[name] for name in session.weights])
    assert session.notes["damping"] > 1e-12


def test_inputs_that_are_not_finite_are_a_divergence():
    session = make_session()
    broken = Batch(torch.full((2, *session.input_shape), torch.nan), torch.zeros(2, dtype=torch.long))
    with pytest.raises(Diverged, match="not finite"):
        pruner("sparsegpt", {}).prune(session, [broken], [[name] for name in session.weights])


def test_no_calibration_examples_are_refused():
    for name, parameter in (("wanda", "examples"), ("sparsegpt", "examples"), ("woodfisher", "gradients")):
        with pytest.raises(ValueError, match=parameter):
            pruner(name, {parameter: 0})
    with pytest.raises(Unsuitable, match="71"):
        pruner("wanda", {"examples": 71})(make_session())


def test_a_weight_that_no_product_reads_is_refused():
    class Shifted(Pair):
        def forward(self, x):
            return self.a(x) @ self.b.weight

    session = pair(Shifted)
    with pytest.raises(Unsuitable, match=r"'b\.weight'"):
        layer_calls(session, IMAGES)


def test_what_a_grouped_strided_dilated_convolution_sees():
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)
    data = Examples(torch.randn(5, 4, 9, 9), torch.zeros(5, dtype=torch.int64))
    recipe = replace(RECIPES["sgd"], batch_size=5)
    session = Session(Setup(lambda seed: nn.Sequential(layer, nn.Flatten()), data, data, recipe, 0.5, 0))
    found = gram(session, [data.batch(slice(0, 5))], "0.weight", ["0.weight"])
    seen = nn.functional.unfold(data.batch(slice(0, 5)).inputs, 3, 2, 2, 2).unflatten(1, (2, -1))
    torch.testing.assert_close(found, torch.einsum("bgcp,bgdp->gcd", seen, seen))


def test_layerwise_magnitude_by_hand():
    # Half of each layer: -2 and 1 go, 0.5 and 2.5 too.
    session = pair_session(0.5)
    pruner("layerwise_magnitude", {})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]


def test_layerwise_magnitude_trains_first_and_takes_a_distribution():
    session = make_session(sparsity=0.8)
    pruner("layerwise_magnitude", {"distribution": "erk"})(session)
    assert session.step == session.total_steps == session.clock.step
    shares = [float(mask.float().mean()) for mask in session.masks.values()]
    total = sum(mask.numel() for mask in session.masks.values())
    assert kept(session) == round(0.2 * total) and len(set(shares)) == len(shares)


AFTER_TRAINING = {
    "magnitude": {},
    "layerwise_magnitude": {},
    "lamp": {"rate": 0.9},
    "wanda": {"examples": 8},
    "sparsegpt": {"examples": 8},
    "woodfisher": {"gradients": 4, "blocks": 64},
}


def trained(name, target):
    """A Session of no steps on a small timm network, whose weights stand for a checkpoint."""
    torch.manual_seed(1)
    state = timm.create_model(name, num_classes=3, **SIZES[name]).state_dict()

    def network(seed):
        model = timm.create_model(name, num_classes=3, **SIZES[name])
        model.load_state_dict(state)
        return model

    generator = torch.Generator().manual_seed(0)
    data = Examples(torch.randn(16, 3, 32, 32, generator=generator), torch.arange(16) % 3)
    recipe = replace(RECIPES["sgd"], duration=Duration("0it"), batch_size=4)
    pattern = parsed(target) if isinstance(target, str) else None
    return Session(Setup(network, data, data, recipe, pattern.sparsity if pattern else target, 0, pattern=pattern))


SIZES = {"test_vit": {"img_size": 32, "patch_size": 8}, "test_convnext": {}}


@pytest.mark.parametrize("model", SIZES)
@pytest.mark.parametrize("method", AFTER_TRAINING)
@pytest.mark.parametrize("target", [0.5, "2:4"])
def test_transformers_and_convnexts_go_through_every_method(model, method, target):
    session = trained(model, target)
    size = sum(weight.numel() for weight in session.weights.values())
    pruner(method, AFTER_TRAINING[method])(session)
    session.finish()
    assert kept(session) == round((1 - session.sparsity) * size) < size
    if session.pattern:
        assert patterns.breach(session.masks, session.pattern) is None
