"""Weights computed from something else, and mask criteria: each method by hand, and what holds of all."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lth_bench import Unsuitable
from lth_bench.data.examples import Examples
from lth_bench.errors import Diverged
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.predictions import evaluate
from lth_bench.pruning.allocation import kept_count
from lth_bench.running.outcomes import outcome
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.mask_criteria import Round
from lth_bench_plugins.parametrisations.coins import Coins
from lth_bench_plugins.parametrisations.criteria import ranks
from lth_bench_plugins.parametrisations.factors import Factors, folded, unfolded
from lth_bench_plugins.parametrisations.hard_concrete import CLOSED, HardConcrete
from lth_bench_plugins.parametrisations.noisy import Noisy, divergence
from lth_bench_plugins.parametrisations.penalties import Ramp, exempt
from lth_bench_plugins.parametrisations.ranks import elements, matrix, saves, shared_out
from lth_bench_plugins.parametrisations.selection import Selection, settle
from lth_bench_plugins.parametrisations.subnet import Subnet
from lth_bench_plugins.parametrisations.thresholded import LongTailedStep, Thresholded
from support.networks import RECIPES, make_session, recipe, states_equal
from support.pairs import kept, left, pair_session, pruner

GATED = [
    ("edge_popup", {}),
    ("supermask", {}),
    ("supermask", {"choice": "drawn", "rescaling": "none", "weights": "own"}),
    ("variational_dropout", {}),
    ("l0", {}),
    ("dst", {}),
    ("str", {}),
    ("continuous_sparsification", {}),
]
CRITERIA = [
    ("mask_criteria", {"rate": 0.5}),
    ("mask_criteria", {"rate": 0.5, "criterion": "small_init_small_final", "kept": "final"}),
    ("mask_criteria", {"rounds": "one_shot", "criterion": "large_final_same_sign", "kept": "signed_constant"}),
    ("mask_criteria", {"criterion": "random", "kept": "random_reshuffle", "retraining": "none", "output_rate": 0.1}),
]
every_gated = pytest.mark.parametrize(("name", "arguments"), GATED, ids=str)
FROZEN = [("mask_criteria", {"rate": 0.5, "pruned": way}) for way in ("initial", "by_movement")]


class Silent(nn.Module):
    """Two singular values, 4 and 1 among zeros, and an output that no gradient comes back from."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8, bias=False)
        self.fc.weight.data = torch.diag(torch.tensor([4.0, 1.0, 0, 0, 0, 0, 0, 0]))

    def forward(self, x):
        return self.fc(x) * 0


def silent_session(sparsity, **changes):
    """One step at rate 1."""
    data = Examples(torch.ones(2, 8), torch.zeros(2, dtype=torch.int64))
    return Session(Setup(lambda seed: Silent(), data, data, Recipe(Duration("1it"), 1, 1.0, **changes), sparsity, 0))


def weights(session):
    return {layer: weight.detach().clone() for layer, weight in session.weights.items()}


def selection(values, sparsity=0.5):
    return Selection(lambda: values, sparsity)


# ---- what holds of all -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "arguments"), [*GATED, *CRITERIA], ids=str)
@settings(max_examples=3, deadline=None)
@given(sparsity=st.floats(0.0, 0.98), seed=st.integers(0, 1000))
def test_the_target_is_met_to_one_weight(name, arguments, sparsity, seed):
    session = make_session(RECIPES["adam"], sparsity, seed)
    pruner(name, arguments)(session)
    session.finish()
    assert kept(session) == kept_count(sparsity, 312)
    for layer, weight in session.weights.items():
        assert torch.equal(weight != 0, session.masks[layer])


@every_gated
def test_what_was_measured_last_is_what_is_left(name, arguments):
    """The network that is evaluated during training is the one that the weights are baked into."""
    session = make_session(RECIPES["adam"], 0.8)
    pruner(name, arguments)(session)
    last = session.course.monitor.curve[-1]
    assert (last.validation_loss, last.validation_accuracy) == evaluate(session.model, session.course.validation)
    assert {point.kept for point in session.course.monitor.curve} == {kept(session)}
    assert session.course.monitor.accurate is not None


@every_gated
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_weights_that_are_not_trained_stay(name, arguments, sparsity):
    session = make_session(RECIPES["sgd"], sparsity)
    before = session.snapshot().state
    pruner(name, arguments)(session)
    after = session.snapshot().state
    parameters = [name for name, _ in session.model.named_parameters()]
    same = all(torch.equal(before[key], after[key]) for key in parameters if key not in session.weights)
    assert same == (name in ("edge_popup", "supermask"))
    assert not torch.equal(before["norm.running_mean"], after["norm.running_mean"])


@pytest.mark.parametrize(("name", "arguments"), [*GATED, ("lowrank", {"dense": "last"})], ids=str)
def test_training_in_bfloat16(name, arguments):
    session = make_session(recipe(precision="bfloat16"), 0.7)
    pruner(name, arguments)(session)
    session.finish()
    assert session.elements or kept(session) == kept_count(0.7, 312)
    assert all(weight.dtype == torch.float32 for weight in session.weights.values())


@every_gated
def test_a_search_that_diverges_is_told_as_such(name, arguments):
    session = make_session(recipe(learning_rate=1e30), 0.8)
    with pytest.raises(Diverged):
        pruner(name, arguments)(session)
        session.finish()


@pytest.mark.parametrize("name", ["edge_popup", "supermask"])
def test_a_layer_of_zeros_that_is_never_trained_is_refused(name):
    session = make_session()
    session.weights["fc2.weight"].data.zero_()
    with pytest.raises(Unsuitable, match=r"all initial weights of layer 'fc2\.weight' are zero"):
        pruner(name, {})(session)
    assert session.step == 0 and session.account.ledger.events == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("supermask", {"initial_share": 0.0}),
        ("supermask", {"initial_share": "half"}),
        ("edge_popup", {"initialisation": "zeros"}),
        ("mask_criteria", {"rate": 0.0}),
        ("mask_criteria", {"criterion": "snip"}),
        ("mask_criteria", {"retraining": False}),
        ("variational_dropout", {"coefficient": -1.0}),
        ("variational_dropout", {"begin": "late"}),
        ("l0", {"coefficient": -0.1}),
        ("l0", {"initial_share": 1.0}),
        ("dst", {"coefficient": -5e-6}),
        ("str", {"decay": -0.06}),
        ("continuous_sparsification", {"coefficient": -1e-8}),
        ("continuous_sparsification", {"temperature": 0.5}),
        ("continuous_sparsification", {"rounds": 0}),
        ("lowrank", {"decay": "none"}),
    ],
    ids=str,
)
def test_parameters_that_mean_nothing_are_refused(name, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        pruner(name, arguments)


# ---- the choice of the highest gates ---------------------------------------------------------------------------------


def test_gates_are_looked_at_anew_in_every_pass():
    values = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 0.0])}
    chosen = selection(values)
    for _ in range(2):
        assert chosen.mask("b").tolist() == [True, False]
        assert chosen.mask("a").tolist() == [False, True]
    values["b"].copy_(torch.tensor([0.0, 0.5]))
    assert chosen.mask("a").tolist() == [True, True]
    values["b"][1] = 9.0
    chosen.forget()
    assert chosen.mask("b").tolist() == [False, True]


def test_gates_without_a_number_come_last():
    values = {"a": torch.tensor([math.nan, -math.inf, -5.0, 2.0])}
    assert selection(values).mask("a").tolist() == [False, False, True, True]


def test_a_search_whose_gates_are_not_finite_has_diverged():
    session = make_session()
    gates = {layer: torch.full_like(weight, math.nan) for layer, weight in session.weights.items()}
    with pytest.raises(Diverged, match="a gate that is not finite at step 0"):
        settle(session, lambda: gates, 0.5)


# ---- edge-popup by hand ----------------------------------------------------------------------------------------------


def test_edge_popup_by_hand():
    # The network of test_pruners: A = (1, -2; 3, -4), B = (5, -6; 0.5, 2.5), x = (1, 1), class 0. Of the scores below
    # the two largest of each layer keep A = (0, -2; 3, 0) and B = (5, 0; 0, 2.5): A·x = (-2, 3), y = (-10, 7.5),
    # p = (0, 1) to eight digits, dL/dy = (-1, 1), dL/dB = (2, -3; -2, 3), dL/d(A·x) = (-5, 2.5),
    # dL/dA = (-5, -5; 2.5, 2.5). A score's gradient is that of its weight, times the weight and the score's sign.
    session = pair_session(0.5, rate=0.05)
    scores = {
        "a.weight": torch.tensor([[0.1, -0.4], [0.3, -0.2]]),
        "b.weight": torch.tensor([[0.5, 0.1], [0.2, -0.6]]),
    }
    session.model.requires_grad_(False)
    subnets = session.parametrize(lambda layer, weight: Subnet(scores[layer].clone(), 2))
    with session.scoring():
        session.loss(session.sample(1)).backward()
        gradients = {layer: subnet.scores.grad.clone() for layer, subnet in subnets.items()}
    assert gradients["a.weight"].flatten().tolist() == pytest.approx([-5, -10, 7.5, 10], rel=1e-6)
    assert gradients["b.weight"].flatten().tolist() == pytest.approx([10, 18, -1, -7.5], rel=1e-6)
    # A step at rate 0.05 takes the scores to (0.35, 0.1; -0.075, -0.7) and (0, -0.8; 0.25, -0.225).
    session.train()
    settle(
        session, lambda: {layer: subnet.scores.abs() for layer, subnet in subnets.items()}, dict.fromkeys(subnets, 0.5)
    )
    assert left(session) == [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    assert session.weights["a.weight"].tolist() == [[1.0, 0.0], [0.0, -4.0]]


def test_edge_popup_keeps_the_same_share_of_every_layer():
    session = make_session(sparsity=0.75)
    pruner("edge_popup", {})(session)
    assert [int(mask.sum()) for mask in session.masks.values()] == [48, 24, 6]
    signs = make_session().weights
    for layer, weight in session.weights.items():
        size = math.sqrt(2 / weight.shape[1])
        assert torch.allclose(weight, signs[layer].sign() * size * session.masks[layer])


def test_edge_popup_draws_weights_of_the_variance_asked_for():
    raw = torch.ones(200, 50, 3, 3)
    for way in ("kaiming_normal", "kaiming_uniform"):
        for fan, count in (("in", 450), ("out", 1800)):
            for scale, share in (("none", 1.0), ("kept", 0.1), ("pruned", 0.9)):
                method = pruner("edge_popup", {"initialisation": way, "fan": fan, "scale_fan": scale})
                drawn = method.initial(raw, 0.1, torch.Generator().manual_seed(0))
                assert float(drawn.std()) == pytest.approx(math.sqrt(2 / (count * share)), rel=0.02)


# ---- supermask by hand -----------------------------------------------------------------------------------------------


def test_supermask_by_hand():
    weight = torch.tensor([[2.0, -3.0, 4.0, 5.0]])
    scores = torch.tensor([[0.0, math.log(3), -math.log(3), 20.0]])
    coins = Coins("a", scores, selection({"a": scores}, 0.75), "none")
    # dL/ds = dL/dw · w · p (1 - p) whatever is drawn, with p = 1/2, 3/4, 1/4 and one.
    (coins(weight) * torch.tensor([1.0, 2.0, 3.0, 1.0])).sum().backward()
    assert coins.scores.grad.flatten().tolist() == pytest.approx([0.5, -6 * 3 / 16, 12 * 3 / 16, 0.0], abs=1e-6)
    torch.manual_seed(0)
    shares = torch.stack([coins(weight) != 0 for _ in range(4000)]).float().mean(0).flatten()
    assert shares.tolist() == pytest.approx([0.5, 0.75, 0.25, 1.0], abs=0.03)
    assert coins.eval()(weight).tolist() == [[0.0, 0.0, 0.0, 5.0]]


def test_supermask_rescales_by_the_share_that_is_kept():
    weight = torch.tensor([[2.0, -3.0, 4.0, 5.0]])
    for rescaling, factor in (("none", 1), ("kept_share", 4), ("root_of_kept_share", 2)):
        coins = Coins("a", torch.tensor([[-50.0, -50.0, 50.0, -50.0]]), selection({"a": weight}, 0.75), rescaling)
        assert coins(weight).tolist() == [[0.0, 0.0, 4.0 * factor, 0.0]]
        assert coins.eval()(weight).tolist() == [[0.0, 0.0, 0.0, 5.0 * factor]]
    nothing = Coins("a", torch.full((1, 4), -50.0), selection({"a": weight}), "kept_share")
    assert nothing(weight).tolist() == [[0.0] * 4]


def test_supermask_makes_weights_signed_constants_of_their_standard_deviation():
    # 1, -2, 3, -4: mean -0.5, mean of squares 7.5; 5, -6, 0.5, 2.5: mean 0.5, mean of squares 16.875.
    session = pair_session(0.5)
    pruner("supermask", {"rescaling": "none"})(session)
    sizes = {"a.weight": math.sqrt(7.25), "b.weight": math.sqrt(16.625)}
    for layer, signs in (("a.weight", [[1, -1], [1, -1]]), ("b.weight", [[1, -1], [1, 1]])):
        expected = torch.tensor(signs) * sizes[layer] * session.masks[layer]
        assert torch.allclose(session.weights[layer], expected)


def test_supermask_drawn_is_a_draw_of_the_probabilities():
    """Of scores at zero any half may be drawn, of scores far apart hardly any but the highest."""
    chosen = set()
    for seed in range(6):
        session = make_session(recipe(learning_rate=1e-9), 0.5, seed)
        pruner("supermask", {"choice": "drawn"})(session)
        chosen.add(tuple(session.masks["fc3.weight"].flatten().tolist()))
        assert session.notes["native_sparsity"] == pytest.approx(0.5, abs=1e-6)
    assert len(chosen) == 6
    masks = []
    for choice in ("highest", "drawn"):
        session = make_session(recipe(learning_rate=1e5, weight_decay=0.0), 0.5)
        pruner("supermask", {"choice": choice})(session)
        masks.append(torch.cat([mask.flatten() for mask in session.masks.values()]))
    assert (masks[0] == masks[1]).float().mean() > 0.9


def test_supermask_may_start_from_the_share_that_it_is_to_keep():
    for sparsity, found in ((0.9, 0.9), (0.0, 0.01)):
        session = make_session(recipe(learning_rate=1e-9), sparsity)
        pruner("supermask", {"initial_share": "target"})(session)
        assert session.notes["native_sparsity"] == pytest.approx(found, abs=1e-5)


# ---- mask criteria by hand -------------------------------------------------------------------------------------------

INITIAL = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0])
FINAL = torch.tensor([4.5, 2.5, 3.5, -1.0, 2.0])
PREFERRED = {  # best first; what is tied stands in a set
    "large_final": [0, 2, 1, 4, 3],
    "small_final": [3, 4, 1, 2, 0],
    "large_init": [4, 3, 2, 1, 0],
    "small_init": [0, 1, 2, 3, 4],
    "large_init_large_final": [2, {1, 4}, {0, 3}],  # ranks (0, 1, 2, 3, 4) and (4, 2, 3, 0, 1): 0, 1, 2, 0, 1
    "small_init_small_final": [1, {2, 3}, {0, 4}],  # ranks (4, 3, 2, 1, 0) and (0, 2, 1, 4, 3): 0, 2, 1, 1, 0
    "magnitude_increase": [0, {1, 2}, {3, 4}],  # 3.5, 0.5, 0.5, -3, -3
    "movement": [1, 0, {3, 4}, 2],  # 3.5, 4.5, 0.5, 3, 3
    "random": [{0, 1, 2, 3, 4}],
    "large_final_same_sign": [0, 2, 4, 3, 1],
    "large_final_diff_sign": [1, {0, 2, 3, 4}],
    "magnitude_increase_same_sign": [0, 2, 1, {3, 4}],
    "magnitude_increase_diff_sign": [1, {0, 2, 3, 4}],
}


@pytest.mark.parametrize("criterion", PREFERRED)
def test_mask_criteria_by_hand(criterion):
    everything = torch.ones(5, dtype=torch.bool)
    round = Round({"a": INITIAL}, {"a": FINAL}, {"a": everything})
    rng, seen = torch.Generator().manual_seed(0), {}
    for _ in range(40):
        order = pruner("mask_criteria", {"criterion": criterion}).scores(round, rng)["a"].argsort(descending=True)
        for place, index in enumerate(order.tolist()):
            seen.setdefault(place, set()).add(index)
    place = 0
    for tied in ({group} if isinstance(group, int) else group for group in PREFERRED[criterion]):
        assert all(seen[place + number] == tied for number in range(len(tied)))
        place += len(tied)


def test_ranks_put_what_is_pruned_first():
    mask = torch.tensor([True, False, True, False])
    found = ranks(torch.tensor([-3.0, 9.0, -5.0, 0.0]), mask, torch.Generator())
    assert (found[[2, 0]].tolist(), sorted(found[[1, 3]].tolist())) == ([2.0, 3.0], [0.0, 1.0])


def test_every_criterion_has_its_hand_computed_case():
    from typing import get_args

    from lth_bench_plugins.mask_criteria import Criterion

    assert set(PREFERRED) == set(get_args(Criterion))


@pytest.mark.parametrize("sign", ["signed", "random"])
@pytest.mark.parametrize("how", ["reinit", "reshuffle", "constant"])
def test_what_kept_weights_are_set_to(sign, how):
    initial = torch.arange(1.0, 101.0) * torch.tensor([1.0, -1.0]).repeat(50)
    mask = torch.arange(100) % 3 > 0
    method = pruner("mask_criteria", {"kept": f"{sign}_{how}"})
    found = method.value(initial, -initial, mask, torch.Generator().manual_seed(0))
    assert bool((found.sign() == initial.sign()).all()) == (sign == "signed")
    sizes = found.abs()[mask].sort().values
    if how == "constant":
        assert torch.allclose(sizes, initial.std(correction=0).expand_as(sizes))
        return
    assert not torch.equal(found[mask], initial[mask])
    assert torch.equal(sizes, initial.abs()[mask]) == (how == "reshuffle")
    assert set(sizes.tolist()) <= set(initial.abs().tolist())


def test_a_supermask_by_criterion_is_not_trained():
    session = make_session(sparsity=0.75)
    start = weights(session)
    trained = make_session(sparsity=0.75)
    trained.train()
    arguments = {"rounds": "one_shot", "criterion": "large_final_same_sign", "kept": "signed_constant"}
    pruner("mask_criteria", {**arguments, "retraining": "none"})(session)
    assert (session.step, sum(event.steps for event in session.account.ledger.events)) == (0, 30)
    assert [int(mask.sum()) for mask in session.masks.values()] == [48, 24, 6]
    for layer, mask in session.masks.items():
        constant = start[layer].sign() * start[layer].std(correction=0)
        assert torch.equal(session.weights[layer], constant * mask)
        same = start[layer].sign() == trained.weights[layer].sign()
        final = trained.weights[layer].abs().where(same, 0.0)
        assert final[mask].min() >= final[~mask].max()
    state = session.snapshot().state
    assert torch.equal(state["norm.running_mean"], torch.zeros(12))


def test_large_final_from_initial_values_is_layerwise_imp():
    arguments = {"rate": 0.5, "output_rate": 0.25}
    imp, criteria = make_session(sparsity=0.8), make_session(sparsity=0.8)
    pruner("imp", {**arguments, "scope": "layer"})(imp)
    pruner("mask_criteria", arguments)(criteria)
    assert states_equal(imp.snapshot().state, criteria.snapshot().state)
    assert states_equal(imp.masks, criteria.masks)


def test_final_weights_may_stay_without_training():
    session, trained = make_session(sparsity=0.8), make_session(sparsity=0.8)
    trained.train()
    pruner("mask_criteria", {"rounds": "one_shot", "kept": "final", "retraining": "none"})(session)
    for layer, mask in session.masks.items():
        assert torch.equal(session.weights[layer], trained.weights[layer] * mask)
    assert torch.equal(session.model.norm.running_mean, trained.model.norm.running_mean)


@pytest.mark.parametrize("kind", ["initial", "final"])
@pytest.mark.parametrize(("name", "arguments"), FROZEN, ids=str)
def test_pruned_weights_may_be_frozen_where_they_started(name, arguments, kind):
    session = make_session(sparsity=0.75)
    start = weights(session)
    pruner(name, {**arguments, "kept": kind})(session)
    session.finish()
    made = outcome([session])
    assert all(mask.all() for mask in session.masks.values())
    for layer, first in start.items():
        weight = made.states["last"][layer]
        frozen = weight == first
        assert int(frozen.sum()) <= round(0.75 * first.numel())
        gone = weight == 0
        assert bool(gone.any()) == (arguments["pruned"] == "by_movement")
        assert int((frozen | gone).sum()) == round(0.75 * first.numel())


# ---- variational dropout by hand -------------------------------------------------------------------------------------


def test_variational_dropout_by_hand():
    # log α = 0: 0.63576 · (1 - sigmoid(1.87320)) + log(2) / 2; 3: the same with 6.33405, and log(1 + e^-3) / 2.
    sigmoid = 1 / (1 + math.exp(-1.87320))
    assert float(divergence(torch.zeros(2))) == pytest.approx(2 * (0.63576 * (1 - sigmoid) + math.log(2) / 2), rel=1e-6)
    sigmoid = 1 / (1 + math.exp(-6.33405))
    expected = 0.63576 * (1 - sigmoid) + math.log1p(math.exp(-3)) / 2
    assert float(divergence(torch.tensor([3.0]))) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(torch.tensor([1e9]))) == pytest.approx(math.log1p(math.exp(-8)) / 2, rel=1e-2)
    # A weight of 2 whose noise has the variance 1/4.
    weight = torch.tensor([2.0, 2.0, 1e-3])
    noisy = Noisy("a", weight, selection({"a": -weight}, 2 / 3), math.log(0.25))
    assert noisy.log_alpha(weight)[0].item() == pytest.approx(math.log(0.25 / 4), rel=1e-6)
    torch.manual_seed(0)
    draws = torch.stack([noisy(weight).detach() for _ in range(4000)])
    assert draws.mean(0)[:2].tolist() == pytest.approx([2.0, 2.0], abs=0.03)
    # In training log α of the third, log(0.25) + 13.8, is held at 8.
    assert draws.std(0).tolist() == pytest.approx([0.5, 0.5, 1e-3 * math.exp(4)], rel=0.05)
    assert noisy.eval()(weight).tolist() == pytest.approx([0.0, 0.0, 1e-3])


def test_variational_dropout_keeps_the_weights_of_least_noise_for_their_size():
    session = pair_session(0.5)
    pruner("variational_dropout", {"begin": "0%", "end": "0%"})(session)
    # All variances are the same, so the largest |w| of 1, 2, 3, 4 and 5, 6, 0.5, 2.5 stay; log α = -10 - log w².
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    assert session.notes["native_sparsity"] == 0.0
    session = pair_session(0.5)
    pruner("variational_dropout", {"begin": "0%", "end": "0%", "threshold": -12.0})(session)
    assert session.notes["native_sparsity"] == 4 / 8  # log α < -12 from |w| = e on: 3, 4, 5 and 6


# ---- L0 by hand ------------------------------------------------------------------------------------------------------


def test_l0_by_hand():
    log_alpha = torch.tensor([0.0, CLOSED, 3.0, -9.0])
    gate = HardConcrete("a", log_alpha, selection({"a": log_alpha}, 0.25))
    # sigmoid(0) · 1.2 - 0.1 = 0.5; at log(1/11) it is zero; sigmoid(3) · 1.2 - 0.1 = 1.0431 is cut.
    assert gate.expected().tolist() == pytest.approx([0.5, 1e-6, 1.0, 1e-6], rel=1e-5)
    # sigmoid(log α - 2/3 · log(0.1 / 1.1)): 0.83182 for 0.
    each = [1 / (1 + math.exp(-(value + 2 / 3 * math.log(11)))) for value in log_alpha.tolist()]
    assert each[0] == pytest.approx(0.83182, abs=1e-5)
    assert gate.open().item() == pytest.approx(sum(each), rel=1e-6)
    torch.manual_seed(0)
    weight = torch.full((4,), 2.0)
    draws = torch.stack([gate(weight).detach() for _ in range(4000)])
    assert (draws != 0).float().mean(0).tolist() == pytest.approx(each, abs=0.025)
    assert float(draws.min()) >= 0 and float(draws.max()) == 2.0
    assert gate.eval()(weight).tolist() == pytest.approx([1.0, 2e-6, 2.0, 0.0], rel=1e-5)


def test_l0_keeps_the_number_that_was_asked_for_when_it_closed_more_gates():
    session = make_session(recipe(optimizer="adam", momentum=0.0, learning_rate=0.5), 0.5)
    pruner("l0", {"coefficient": 1e4})(session)
    assert session.notes["native_sparsity"] == 1.0
    assert sum(int(weight.count_nonzero()) for weight in session.weights.values()) == 156


# ---- trainable thresholds by hand ------------------------------------------------------------------------------------


def test_the_long_tailed_step_by_hand():
    x = torch.tensor([-1.2, -0.7, -0.2, 0.0, 0.2, 0.4, 0.7, 1.0, 1.2], requires_grad=True)
    step = LongTailedStep.apply(x)
    assert step.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    (step * 10).sum().backward()
    assert x.grad.tolist() == pytest.approx([0, 4, 12, 20, 12, 4, 4, 4, 0], abs=1e-4)


def test_dst_by_hand():
    weight = torch.tensor([[1.0, -2.0], [0.3, 0.1]], requires_grad=True)
    gate = Thresholded("a", weight.detach(), selection({"a": torch.tensor([[0.0, 1.0], [3.0, 2.0]])}))
    assert gate.thresholds.tolist() == [0.0, 0.0]
    gate.thresholds.data.copy_(torch.tensor([0.5, 0.2]))
    # |w| - t = (0.5, 1.5; 0.1, -0.1), with derivatives (0.4, 0; 1.6, 1.6).
    made = gate(weight)
    assert made.tolist() == [[1.0, -2.0], [pytest.approx(0.3), 0.0]]
    made.sum().backward()
    assert gate.thresholds.grad.tolist() == pytest.approx([-0.4, -(0.3 + 0.1) * 1.6], rel=1e-5)
    assert weight.grad.flatten().tolist() == pytest.approx([1.4, 1.0, 1 + 0.3 * 1.6, 0.1 * 1.6], rel=1e-5)
    assert gate.eval()(weight).tolist() == [[0.0, 0.0], [pytest.approx(0.3), pytest.approx(0.1)]]
    # A layer with hardly a weight left starts again from thresholds of zero.
    gate.train()
    gate.thresholds.data.fill_(5.0)
    assert gate(weight).count_nonzero() == 4
    assert gate.thresholds.tolist() == [0.0, 0.0]


def test_dst_raises_its_thresholds_by_the_sparse_regulariser():
    # From 0, a step at rate 1 along 0.5 · exp(-t) takes them to 0.5, and one along 2 · exp(-t) to 2.
    for coefficient, above in ((0.5, 2), (2.0, 1), (0.0, 2)):
        session = silent_session(0.5)
        pruner("dst", {"coefficient": coefficient})(session)
        assert session.notes["native_sparsity"] == 1 - above / 64


# ---- factorised layers by hand ---------------------------------------------------------------------------------------


def test_factors_by_hand():
    # (3, 0; 0, 1) has the singular values 3 and 1: of rank one, (√3, 0)ᵀ · (√3, 0) is left.
    made = Factors((2, 2), 1)
    left, right = made.right_inverse(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    assert (left.shape, right.shape) == ((2, 1), (1, 2))
    assert left.abs().flatten().tolist() == pytest.approx([math.sqrt(3), 0.0])
    assert torch.allclose(made(left, right), torch.tensor([[3.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 3, 2), (4, 1, 3, 3), (5, 3, 2), (2, 3, 1, 2, 2)])
def test_factors_of_full_rank_are_the_weight(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(folded(unfolded(weight), shape), weight)
    assert tuple(unfolded(weight).shape) == matrix(shape)
    made = Factors(shape, min(matrix(shape)))
    assert torch.allclose(made(*made.right_inverse(weight)), weight, rtol=1e-12, atol=1e-12)


def test_a_factorised_convolution_is_two_convolutions():
    """One along the width into as many channels as it has ranks, and one along the height."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    made, x = Factors(weight.shape, 2), torch.randn(1, 3, 7, 7, generator=generator, dtype=torch.float64)
    left, right = made.right_inverse(weight)
    inner = nn.functional.conv2d(x, right.view(2, 3, 1, 3), padding=(0, 1), stride=(1, 2))
    outer = nn.functional.conv2d(inner, left.view(4, 3, 2, 1).permute(0, 2, 1, 3), padding=(1, 0), stride=(2, 1))
    assert torch.allclose(nn.functional.conv2d(x, made(left, right), padding=1, stride=2), outer)


def test_ranks_by_hand():
    # a: 10 × 10, 20 numbers a rank up to 4; b: 4 × 6, 10 a rank up to 2; c: 1 × 5 saves nothing, 5 numbers.
    shapes = {"a": (10, 10), "b": (4, 6), "c": (1, 5)}
    assert [elements(shapes["a"], rank) for rank in (1, 4, 5, 9)] == [20, 80, 100, 100]
    assert not saves(shapes["c"], 1)
    assert shared_out(shapes, 35) == {"a": 1, "b": 1, "c": 1}
    # The share of a is behind: 2/10 to 2/4; then 3/10 and 4/10 come before 2/4, 5/10, and b's 3/4, which is all of it.
    assert shared_out(shapes, 55) == {"a": 2, "b": 1, "c": 1}
    assert shared_out(shapes, 105) == {"a": 4, "b": 2, "c": 1}
    # What a can no longer pay, b can: 65 - 55 = 10 buys the second rank of b.
    assert shared_out(shapes, 65) == {"a": 2, "b": 2, "c": 1}
    assert shared_out(shapes, 129) == {"a": 5, "b": 3, "c": 1}


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(
        st.lists(st.integers(1, 9), min_size=2, max_size=2) | st.tuples(*[st.integers(1, 5)] * 4), min_size=1
    ),
    share=st.floats(0, 1),
)
def test_ranks_use_a_budget_up_to_less_than_a_rank(shapes, share):
    named = {str(number): tuple(shape) for number, shape in enumerate(shapes)}
    least, most = (sum(elements(shape, rank) for shape in named.values()) for rank in (1, 99))
    budget = least + round(share * (most - least))
    found = shared_out(named, budget)
    used = sum(elements(named[layer], rank) for layer, rank in found.items())
    assert used <= budget
    for layer, rank in found.items():
        assert budget - used < elements(named[layer], rank + 1) - elements(named[layer], rank) or not saves(
            named[layer], rank
        )


@pytest.mark.parametrize("decay", ["frobenius", "factors"])
def test_decay_of_factors_by_hand(decay):
    # Of rank two, U = V = diag(2, 1). A step at rate 1 with a decay of 0.1 leaves U - 0.1 · U V Vᵀ, or U - 0.1 · U.
    session = silent_session(0.5, weight_decay=0.1)
    pruner("lowrank", {"dense": "none", "decay": decay})(session)
    session.finish()
    assert session.elements == {"fc.weight": 32}
    shrunk = [(2 - 0.1 * 8) ** 2, (1 - 0.1) ** 2] if decay == "frobenius" else [4 * 0.9**2, 0.9**2]
    assert session.weights["fc.weight"].diagonal()[:2].tolist() == pytest.approx(shrunk, rel=1e-5)


def test_low_rank_meets_its_target_from_below():
    for sparsity in (0.0, 0.1, 0.4, 0.7):
        session = make_session(RECIPES["adam"], sparsity)
        pruner("lowrank", {"dense": "none"})(session)
        session.finish()
        made = outcome([session])
        target = kept_count(sparsity, 312)
        used = sum(made.facts.elements.get(layer, math.prod(shape)) for layer, shape in session.shapes.items())
        assert target - 28 < used <= target
        for layer, weight in session.weights.items():
            if (held := made.facts.elements.get(layer, weight.numel())) < weight.numel():
                assert int(torch.linalg.matrix_rank(weight.detach())) <= held / sum(weight.shape)


def test_low_rank_leaves_the_first_and_the_last_layer_as_they_are():
    # 192, 96 and 24 weights; a rank of the middle layer takes 20 numbers, of the first 28.
    for dense, sparsity, counts in (
        ("first_and_last", 0.1, [192, 60, 24]),  # of 281 numbers, 65 are for ranks
        (
            "last",
            0.1,
            [168, 80, 24],
        ),  # of 257; 6/12 and 4/8 of the full ranks leave 9, and 96 would take 16
        ("none", 0.75, [28, 20, 24]),  # of 78; 19 are not enough for the first two, and the last is dense at 24
    ):
        session = make_session(RECIPES["adam"], sparsity)
        found = pruner("lowrank", {"dense": dense}).ranks(session)
        used = [elements(shape, found.get(layer, 99)) for layer, shape in session.shapes.items()]
        assert used == counts
    refused = {
        "first_and_last": r"leaves 94 elements; .* 'first_and_last' and a rank of one .* take 236; .* 0\.2435",
        "last": r"leaves 62 elements; .* 'last' .* take 72; ask for 0\.7692 at most",
        "none": r"leaves 31 elements; .* 'none' .* take 59; ask for 0\.8108 at most",
    }
    for (dense, sentence), sparsity in zip(refused.items(), (0.7, 0.8, 0.9), strict=True):
        with pytest.raises(Unsuitable, match=sentence):
            pruner("lowrank", {"dense": dense})(make_session(sparsity=sparsity))


# ---- penalties -------------------------------------------------------------------------------------------------------


def test_a_penalty_sets_in_linearly():
    assert [Ramp(10, 20).share(step) for step in (0, 10, 15, 20, 30)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert [Ramp(5, 5).share(step) for step in (4, 5)] == [0.0, 1.0]
    for arguments in ({"begin": "20it", "end": "10it"}, {"end": "31it"}):
        with pytest.raises(Unsuitable, match="of 30; it has to begin before"):
            pruner("l0", arguments)(make_session())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("decay", ["all", "weights"])
def test_what_is_exempt_does_not_decay(name, decay):
    momentum = 0.9 if name == "sgd" else 0.0
    session = make_session(recipe(optimizer=name, momentum=momentum, decay=decay, weight_decay=0.5, duration="3it"))
    before = {key: value.detach().clone() for key, value in session.model.named_parameters()}
    exempt(session, [session.weights["fc2.weight"], session.model.fc3.bias])
    for batch in session.batches():
        (session.loss(batch) * 0).backward()
        session.update()
    after = dict(session.model.named_parameters())
    same = {key for key, value in before.items() if torch.equal(value, after[key])}
    decayed = {"fc1.weight", "fc3.weight"}
    if decay == "all":
        decayed |= {"fc1.bias", "fc2.bias", "norm.weight"}
    assert same == set(before) - {key for key in decayed if before[key].any()}


def test_the_noise_of_weights_and_the_gates_do_not_decay():
    for name in ("variational_dropout", "l0"):
        session = make_session(recipe(weight_decay=0.25, duration="1it", measure_every="1it"))
        pruner_ = pruner(name, {"begin": "0%", "end": "100%"})
        found = {}

        class Looking(Session):
            def bake(self, found=found):
                groups = self.optimizer.param_groups
                found.update({id(p): group["weight_decay"] for group in groups for p in group["params"]})
                found["gates"] = [p for key, p in self.model.named_parameters() if "log_" in key]
                super().bake()

        looking = Looking(
            Setup(session._network, session.order.data, session.course.validation, session.recipe, 0.5, 0)
        )
        pruner_(looking)
        assert len(found["gates"]) == 3
        assert {found[id(gate)] for gate in found["gates"]} == {0.0}
