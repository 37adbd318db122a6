"""Dynamic sparse training and gradual pruning: RigL, SET, MEST, static, GMP, AC/DC, GraNet."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_bench import Unsuitable, chance
from lth_bench.data.examples import Examples
from lth_bench.errors import Diverged
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.sparse_training import (
    GradualPruning,
    annealed,
    dropped,
    evolve,
    evolve_after_updates,
    exchanged,
    gradient_magnitude_at_hand,
    grown,
    layer_sparsities,
)
from lth_bench.pruning import masks
from lth_bench.pruning.allocation import kept_count
from lth_bench.storage.store import Store
from lth_bench.training.memory import Memory
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, examples, make_session, network, recipe
from support.pairs import Pair, kept, left, pruner

OFTEN = {"interval": "3it"}
VARIANTS = [
    ("rigl", OFTEN),
    ("rigl", {"distribution": "uniform", "annealing": "constant", "until": "100%", **OFTEN}),
    ("set", {}),
    ("set", {"drop": "magnitude", "distribution": "erk", "annealing": "linear", **OFTEN}),
    ("itop", OFTEN),
    ("itop", {"growth": "random", **OFTEN}),
    ("mest", {}),
    ("mest", {"bound": "soft", "mutation": 0.5, "gradients": 0.1, **OFTEN}),
    ("static", {}),
    ("static", {"distribution": "er"}),
    ("gmp", {}),
    ("gmp", {"begin": "0it", "scope": "global", **OFTEN}),
    ("acdc", {}),
    ("acdc", {"momentum": "kept", "warmup": "0it", "phase": "4it"}),
    ("granet", {}),
    ("granet", {"begin": "2it", **OFTEN}),
]
MOVING = [variant for variant in VARIANTS if variant[0] in ("rigl", "set", "itop")]
every_variant = pytest.mark.parametrize(("name", "arguments"), VARIANTS, ids=str)
every_moving = pytest.mark.parametrize(("name", "arguments"), MOVING, ids=str)


class Watched(Session):
    """A Session that remembers what every rewiring found and left behind."""

    def __init__(self, recipe=RECIPES["sgd"], sparsity=0.8):
        super().__init__(Setup(network, examples(70), examples(20, 1), recipe, sparsity, 0))
        self.seen = []

    def rewire(self, masks):
        before = self.step, self.masks, self.values()
        super().rewire(masks)
        self.seen.append((*before, self.masks, self.values()))

    def values(self):
        """Weights and the optimiser's state by layer."""
        state = self.optimizer.state if self.optimizer else {}
        return {
            name: [weight.detach().clone(), *(v.clone() for v in state.get(weight, {}).values() if v.dim())]
            for name, weight in self.weights.items()
        }


# ---- what all have in common -----------------------------------------------------------------------------------------


@every_variant
@settings(max_examples=4, deadline=None)
@given(sparsity=st.floats(0.01, 0.98), seed=st.integers(0, 1000))
def test_the_target_is_met_to_one_weight(name, arguments, sparsity, seed):
    session = make_session(RECIPES["adam"], sparsity, seed)
    pruner(name, arguments)(session)
    session.finish()
    assert kept(session) == kept_count(sparsity, 312)
    for layer, weight in session.weights.items():
        assert weight[~session.masks[layer]].count_nonzero() == 0


@every_variant
def test_training_lasts_as_long_as_the_recipe(name, arguments):
    session = make_session(sparsity=0.8)
    pruner(name, arguments)(session)
    assert sum(event.steps for event in session.account.ledger.events) == session.step == 30


@pytest.mark.parametrize(("name", "arguments"), [*MOVING, ("static", {})], ids=str)
def test_the_sparsity_of_every_layer_is_the_same_at_every_step(name, arguments):
    session = make_session(sparsity=0.8)
    pruner(name, arguments)(session)
    assert len({event.kept for event in session.account.ledger.events}) == 1
    spread = layer_sparsities(session, arguments.get("distribution", pruner(name, {}).distribution), 0.8)
    wanted = [kept_count(spread[layer], mask.numel()) for layer, mask in session.masks.items()]
    assert session.account.ledger.events[0].kept == tuple(wanted)


@every_moving
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_new_weights_start_empty_and_all_others_are_as_they_were(name, arguments, optimizer):
    session = Watched(RECIPES[optimizer])
    pruner(name, arguments)(session)
    assert len(session.seen) >= 4
    born = 0
    for _, old, before, new, after in session.seen:
        for layer in session.masks:
            fresh, stayed = new[layer] & ~old[layer], new[layer] & old[layer]
            born += int(fresh.count_nonzero())
            assert all(not value[~stayed].any() for value in after[layer])
            for value, found in zip(after[layer], before[layer], strict=True):
                assert torch.equal(value[stayed], found[stayed])
    assert born > 10


@every_moving
def test_the_share_explored_is_that_of_all_weights_that_were_ever_kept(name, arguments):
    session = Watched()
    pruner(name, arguments)(session)
    ever = {layer: mask.clone() for layer, mask in session.seen[0][1].items()}
    for *_, new, _ in session.seen:
        ever = {layer: mask | new[layer] for layer, mask in ever.items()}
    assert session.notes["explored"] == pytest.approx(sum(masks.kept(ever).values()) / 312)
    assert 0.2 < session.notes["explored"] <= 1


def test_the_more_often_the_topology_changes_the_more_is_explored():
    shares = []
    for interval in ("30it", "10it", "3it"):
        session = make_session(sparsity=0.8)
        pruner("set", {"interval": interval})(session)
        shares.append(session.notes["explored"])
    assert shares[0] == pytest.approx(62 / 312)
    assert shares == sorted(set(shares))


def test_scores_that_are_not_finite_end_an_experiment_as_diverged():
    for name, arguments, step in (
        ("rigl", {"until": "100%"}, 10),
        ("set", {"until": "100%"}, 10),
        ("granet", {}, 9),
        ("itop", {}, 9),
        ("mest", {}, 10),
        ("itop", {"growth": "random"}, 10),
    ):
        session = make_session(recipe(learning_rate=1e30, measure_every="30it"), 0.8)
        with pytest.raises(Diverged, match=f"that is not finite at step {step}$"):
            pruner(name, {"interval": "10it", **arguments})(session)


def test_an_interval_must_last():
    for name in ("rigl", "set", "itop", "mest", "gmp", "granet"):
        session = make_session(sparsity=0.8)
        with pytest.raises(Unsuitable, match="an interval of '0it' is less than one step"):
            pruner(name, {"interval": "0it"})(session)
        assert session.step == 0


def test_values_that_mean_nothing_are_refused():
    wrong = {"training": 0.0, "drop_fraction": 1.0, "interval": "3", "distribution": "random", "annealing": "sine"}
    for name in ("rigl", "set"):
        for parameter, value in wrong.items():
            with pytest.raises(ValueError, match=parameter):
                pruner(name, {parameter: value})


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_dropping_and_growing_by_hand():
    mask = torch.tensor([[True, True, False], [False, True, True]])
    importance = torch.tensor([[3.0, 1.0, 9.0], [9.0, 1.0, 2.0]])
    growth = torch.tensor([[9.0, 5.0, 4.0], [5.0, 1.0, 9.0]])
    # Of 3, 1, 1 and 2 the two ones go; in the order 5, 5, 4, 1 the dropped one at (0, 1) comes first.
    assert dropped(mask, importance, 2).tolist() == [[True, False, False], [False, False, True]]
    assert dropped(mask, importance, 1).tolist() == [[True, True, False], [False, False, True]]
    left = dropped(mask, importance, 2)
    assert grown(left, growth, 1).tolist() == [[True, True, False], [False, False, True]]
    assert grown(left, growth, 2).tolist() == [[True, True, False], [True, False, True]]
    assert grown(left, growth, 4).all()


@given(st.floats(0.01, 0.99), st.integers(1, 1000))
def test_every_annealing_starts_at_the_value_and_only_constant_does_not_end_at_zero(value, end):
    for how in ("constant", "cosine", "linear", "cubic"):
        left = [annealed(value, how, step, end) for step in range(end + 2)]
        assert left[0] == value
        assert left[end] == left[end + 1] == (value if how == "constant" else pytest.approx(0, abs=1e-12))
        assert all(later <= earlier + 1e-12 for earlier, later in pairwise(left))


def test_annealing_by_hand():
    # Evci et al. 2020: α/2 · (1 + cos(π t/T)) and α · (1 - t/T)^k; at a third of the way the cosine is 1/2.
    assert annealed(0.4, "cosine", 10, 30) == pytest.approx(0.3)
    assert annealed(0.4, "linear", 10, 40) == pytest.approx(0.3)
    assert annealed(0.4, "cubic", 10, 20) == pytest.approx(0.05)


def test_gradual_pruning_by_hand():
    # 0.9 + (0.5 - 0.9) · (1 - t)^3, half way 0.9 - 0.4/8.
    schedule = GradualPruning(10, 30, 10, 0.5, 0.9)
    assert schedule.steps == [20, 30]
    assert [schedule.sparsity(step) for step in (0, 10, 20, 30, 99)] == pytest.approx([0.5, 0.5, 0.85, 0.9, 0.9])
    assert GradualPruning(10, 34, 10, 0.0, 0.9).steps == [20, 30, 34]
    assert GradualPruning(10, 10, 5, 0.0, 0.9).steps == [10]


def test_a_topology_evolves_at_the_steps_given_and_at_no_other():
    session = Watched()
    session.prune(chance(session))
    evolve(session, [4, 9], lambda batch: exchanged(session, session.dense_gradients(batch), 0.3))
    assert [step for step, *_ in session.seen] == [4, 9]
    assert [(event.kind, event.step, event.steps, event.examples) for event in session.account.ledger.events] == [
        ("train", 0, 4, 40),
        ("dense_gradients", 4, 1, 10),
        ("train", 5, 4, 40),
        ("dense_gradients", 9, 1, 10),
        ("train", 10, 20, 200),
    ]


# ---- by hand: y = B·A·x of test_pruners, one example x = (1, 1) of class 0, weights that hardly move -----------------


def pair_session(sparsity, steps, seed=0):
    data = Examples(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64))
    recipe = Recipe(Duration(f"{steps}it"), 1, 1e-12, measure_every=Duration(f"{steps}it"))
    return Session(Setup(lambda _: Pair(), data, data, recipe, sparsity, seed))


def pair_session_from(start, steps):
    """One whose seed draws this topology first."""
    for seed in range(1000):
        session = pair_session(0.5, steps, seed)
        session.prune(chance(session), layer_sparsities(session, "erk", 0.5))
        if left(session) == start:
            return pair_session(0.5, steps, seed)
    raise AssertionError(f"no seed draws {start}")


def weights_left(session):
    return [weight.detach().round(decimals=4).tolist() for weight in session.weights.values()]


def changes_one_weight_a_layer(name, arguments):
    session = pair_session_from([[[0, 1], [1, 0]], [[0, 0], [1, 1]]], steps=2)
    pruner(name, arguments)(session)
    assert left(session) == [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    assert weights_left(session) == [[[0, 0], [3, 0]], [[0, 0], [0, 2.5]]]
    assert session.notes == {"explored": 0.75}
    assert [(event.kind, event.step, event.steps) for event in session.account.ledger.events] == [
        ("dense_gradients", 0, 1),
        ("train", 1, 1),
    ]


def test_rigl_by_hand():
    # A keeps -2 and 3, B 0.5 and 2.5: A·x = (-2, 3), y = (0, 6.5), dL/dy = (-g, g); |dL/dB| = g · ((2, 3), (2, 3)),
    # Bᵀ·dL/dy = (0.5g, 2.5g) and |dL/dA| = g · ((0.5, 0.5), (2.5, 2.5)). At a fraction of one half each layer drops one
    # of two, -2 and 0.5, and grows where the gradient is 2.5g and 3g.
    changes_one_weight_a_layer("rigl", {"drop_fraction": 0.5})


def test_itop_by_hand():
    # As in test_rigl_by_hand, but right after the first of two steps: of two weights the share 0.005 + 0.495/2 is one.
    changes_one_weight_a_layer("itop", {"interval": "1it"})


def test_itop_grows_by_chance_without_dense_gradients():
    session = Watched()
    pruner("itop", {"growth": "random", **OFTEN})(session)
    assert [step for step, *_ in session.seen] == [3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert {event.kind for event in session.account.ledger.events} == {"train"}


def test_an_update_comes_before_the_change_of_the_topology_that_follows_it():
    plain, session = make_session(), Watched(sparsity=0.5)
    for one in (plain, session):
        one.prune({name: weight.detach().abs() for name, weight in one.weights.items()})
    evolve_after_updates(session, [4], lambda: gradient_magnitude_at_hand(session), lambda scores: session.masks)
    plain.train(until=4)
    ((step, _, before, _, _),) = session.seen
    assert step == 4
    assert all(torch.equal(before[name][0], weight) for name, weight in plain.weights.items())
    plain.train()
    assert all(torch.equal(session.weights[name], weight) for name, weight in plain.weights.items())


def test_a_weight_that_rigl_drops_and_grows_again_keeps_its_value():
    # A keeps 3 and -4, B 5 and -6: A·x = (0, -1), y = (6, 0); |dL/dA| = g · ((5, 5), (6, 6)): 3 is dropped, and its
    # gradient is the largest. |dL/dB| = g · ((0, 1), (0, 1)): 5 is dropped, and its gradient is zero.
    session = pair_session_from([[[0, 0], [1, 1]], [[1, 1], [0, 0]]], steps=2)
    pruner("rigl", {"drop_fraction": 0.5})(session)
    assert weights_left(session) == [[[0, 0], [3, -4]], [[0, -6], [0, 0]]]
    assert left(session) == [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    assert session.notes == {"explored": 5 / 8}


def test_rigl_charges_dense_gradients_every_so_many_steps_until_its_end():
    session = make_session(sparsity=0.8)
    pruner("rigl", {"interval": "5it", "until": "70%"})(session)
    dense = [
        (event.step, event.steps, event.examples) for event in session.account.ledger.events if "dense" in event.kind
    ]
    assert dense == [(step, 1, 10) for step in (0, 5, 10, 15, 20)]


def test_rigl_exchanges_a_share_of_each_layer():
    session = make_session()
    session.prune(chance(session))
    new = exchanged(session, {name: (~mask).float() for name, mask in session.masks.items()}, 0.3)
    for name, mask in session.masks.items():
        assert int((mask & ~new[name]).count_nonzero()) == int(0.3 * int(mask.count_nonzero()))
        assert new[name].count_nonzero() == mask.count_nonzero()


def test_longer_training_stretches_the_recipe_and_what_depends_on_it():
    for name in ("rigl", "set"):
        session = Watched()
        pruner(name, {"interval": "7it", "until": "50%", "training": 2.0})(session)
        assert session.step == session.total_steps == 60
        assert [step for step, *_ in session.seen] == [0, 7, 14, 21, 28][name == "set" :]


def test_set_by_hand():
    mask = torch.tensor([True, True, True, True, True, False, False])
    weight = torch.tensor([1.0, -5.0, 2.0, -6.0, 3.0, 0.0, 0.0])
    growth = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    # Half of the positive ones 1, 2, 3 is one, of the negative ones -5, -6 one; of all it is two, 1 and 2.
    by_sign = pruner("set", {}).exchanged(mask, weight, growth, 0.5)
    assert by_sign.int().tolist() == [0, 0, 1, 1, 1, 1, 1]
    by_magnitude = pruner("set", {"drop": "magnitude"}).exchanged(mask, weight, growth, 0.5)
    assert by_magnitude.int().tolist() == [0, 1, 0, 1, 1, 1, 1]


def test_set_grows_random_weights_after_every_epoch_without_gradients():
    session = Watched()
    pruner("set", {})(session)
    assert [step for step, *_ in session.seen] == [7, 14, 21, 28]
    assert {event.kind for event in session.account.ledger.events} == {"train"}
    assert sum(event.examples for event in session.account.ledger.events) == 260
    grown_by_seed = set()
    for seed in range(60):
        session = pair_session(0.5, 2, seed)
        session.adopt({name: torch.tensor([[False, True], [True, False]]) for name in session.masks})
        new = pruner("set", {"drop": "magnitude"}).masks(session, chance(session), 0.5)
        grown_by_seed.add(str(new["a.weight"].int().tolist()))
    assert grown_by_seed == {"[[1, 0], [1, 0]]", "[[0, 1], [1, 0]]", "[[0, 0], [1, 1]]"}, "-2 goes, one of three comes"


MEST_OFTEN = {"interval": "1it", "mutation": 0.5, "halved": "100%", "until": "2it"}


def test_mest_by_hand():
    # A keeps 3 and -4, B 5 and -6; of two the smaller one goes, and one of three pruned ones comes, at zero.
    came = set()
    for seed in range(30):
        session = pair_session(0.5, 3, seed)
        pruner("mest", MEST_OFTEN)(session)
        assert weights_left(session) == [[[0, 0], [0, -4]], [[0, -6], [0, 0]]]
        assert [masks.kept(session.masks)[layer] for layer in session.masks] == [2, 2]
        assert [(event.steps, event.kept) for event in session.account.ledger.events] == [(3, (2, 2))]
        came.add(str(left(session)[0]))
    assert came == {"[[1, 0], [0, 1]]", "[[0, 1], [0, 1]]", "[[0, 0], [1, 1]]"}


def test_mest_with_a_soft_bound_by_hand():
    # Half more than the target: at first -2, 3, -4 and 5, -6, 2.5, then the two largest and a new one each.
    session = pair_session(0.5, 3)
    pruner("mest", {**MEST_OFTEN, "bound": "soft"})(session)
    assert weights_left(session) == [[[0, 0], [3, -4]], [[5, -6], [0, 0]]]
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    assert [(event.steps, event.kept) for event in session.account.ledger.events] == [(2, (3, 3)), (1, (2, 2))]


def test_mest_weighs_gradients_by_hand():
    session = pair_session(0.5, 3)
    for weight in session.weights.values():
        weight.grad = torch.tensor([[4.0, 0.0], [-2.0, 0.0]])
    assert pruner("mest", {"gradients": 0.5}).importance(session)["a.weight"].tolist() == [[3, 2], [4, 4]]


def test_mest_exchanges_fewer_weights_from_half_way_on_and_none_in_the_end():
    for bound in ("hard", "soft"):
        session = Watched(sparsity=0.5)
        pruner("mest", {"interval": "5it", "bound": bound})(session)
        assert [step for step, *_ in session.seen] == [5, 5, 10, 10, 15, 15, 20, 20, 22, 22]
        # Of the 96 weights that the first layer keeps, 19 change, and 9 from step 17 on.
        growths = [masks.kept(new)["fc1.weight"] - masks.kept(old)["fc1.weight"] for _, old, _, new, _ in session.seen]
        assert growths[1::2] == [19, 19, 19, 9, 0]
        assert kept(session) == 156


def test_static_by_hand():
    session = Watched(sparsity=0.5)
    pruner("static", {})(session)
    assert session.seen == []
    # Shapes (12, 16), (8, 12), (3, 8): scale · sums 28, 20, 11 is 156 at 2.6441; the last would have 29 of 24, so it is
    # dense, and the others share 132 at 2.75: 77 and 55.
    assert list(masks.kept(session.masks).values()) == [77, 55, 24]
    topologies = set()
    for seed in range(40):
        session = pair_session(0.5, 1, seed)
        pruner("static", {})(session)
        topologies.add(str(left(session)[0]))
    assert len(topologies) == 6, "all six ways to keep two of four weights turn up"


def test_gmp_by_hand():
    # 0.5 - 0.5 · (1 - t/3)^3: 0.352, 0.481 and 0.5 at steps 1 to 3. Of four weights 2.6, 2.1 and 2 stay: 1 and 0.5 go
    # first, -2 and 2.5 next.
    schedule = {"begin": "0it", "end": "3it", "interval": "1it"}
    session = pair_session(0.5, steps=4)
    pruner("gmp", schedule)(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    assert [(event.step, event.steps, event.kept) for event in session.account.ledger.events] == [
        (0, 1, (4, 4)),
        (1, 1, (3, 3)),
        (2, 2, (2, 2)),
    ]
    # Of all eight 5.2, 4.1 and 4 stay: 0.5, 1 and -2 go first, 2.5 next.
    session = pair_session(0.5, steps=4)
    pruner("gmp", {**schedule, "scope": "global"})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    assert [(event.step, event.steps, event.kept) for event in session.account.ledger.events] == [
        (0, 1, (4, 4)),
        (1, 1, (2, 3)),
        (2, 2, (2, 2)),
    ]


def test_gmp_is_looked_up_when_it_was_computed_before(tmp_path):
    spent = []
    for _ in range(2):
        memory = Memory(Store(tmp_path), {})
        session = Session(Setup(network, examples(70), examples(20, 1), RECIPES["sgd"], 0.8, 0, memory))
        pruner("gmp", OFTEN)(session)
        spent.append((session.account.spent.steps_computed, session.account.spent.steps_looked_up))
    assert spent == [(30, 0), (0, 30)]


def test_acdc_by_hand():
    # Of all eight weights 3, -4, 5 and -6 are the largest. The first step hardly moves them: A·x = (0, -1), y = (6, 0)
    # and g = 1/(1 + exp(6)), dL/dA = ((-5g, -5g), (6g, 6g)), dL/dB = ((0, g), (0, -g)). All weights take the second
    # step, 1.2/g long, the pruned ones from zero: A is (6, 6), (-4.2, -11.2) and B (5, -7.2), (0, 1.2), of which the
    # largest are others. At y = (80.6, 0), the third step does nothing.
    data = Examples(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64))
    growth = {"schedule": "step", "milestones": (Duration("1it"),), "factor": 1.2e12 * (1 + math.exp(6))}
    recipe = Recipe(Duration("3it"), 1, 1e-12, measure_every=Duration("3it"), **growth)
    session = Session(Setup(lambda _: Pair(), data, data, recipe, 0.5, 0))
    pruner("acdc", {"warmup": "0it", "phase": "1it", "last": "1it"})(session)
    assert left(session) == [[[1, 1], [0, 1]], [[0, 1], [0, 0]]]
    assert session.weights["a.weight"].tolist() == [
        pytest.approx([6, 6], abs=1e-3),
        pytest.approx([0, -11.2], abs=1e-3),
    ]
    assert session.weights["b.weight"].tolist() == [pytest.approx([0, -7.2], abs=1e-3), [0, 0]]
    assert [(event.kind, event.step, event.steps, event.kept) for event in session.account.ledger.events] == [
        ("train", 0, 1, (2, 2)),
        ("train", 1, 1, (4, 4)),
        ("train", 2, 1, (3, 1)),
    ]


def test_acdc_has_as_many_cycles_as_fit_and_lengthens_the_last_dense_phase():
    session = make_session(sparsity=0.8)
    method = pruner("acdc", {"warmup": "10%", "phase": "4it", "last": "4it"})
    assert method.compressed(session) == [(3, 7), (11, 15), (26, 30)]
    method(session)
    assert [(event.step, sum(event.kept)) for event in session.account.ledger.events] == [
        (0, 312),
        (3, 62),
        (7, 312),
        (11, 62),
        (15, 312),
        (26, 62),
    ]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("momentum", ["reset", "kept"])
def test_weights_that_acdc_revives_start_at_zero(momentum, optimizer):
    session = Watched(RECIPES[optimizer])
    pruner("acdc", {"momentum": momentum, "phase": "5it"})(session)
    assert [step for step, *_ in session.seen] == [7, 17]
    for _, old, before, new, after in session.seen:
        for layer, mask in new.items():
            assert mask.all()
            assert not after[layer][0][~old[layer]].any()
            assert torch.equal(after[layer][0], before[layer][0])


def test_pruning_that_cannot_be_done_in_time_is_refused_before_training():
    for name, span in (("gmp", {"end": "100%"}), ("gmp", {"begin": "80%"}), ("granet", {"end": "900it"})):
        session = make_session(sparsity=0.8)
        with pytest.raises(Unsuitable, match=r"gradual pruning from .* to end before training does"):
            pruner(name, span)(session)
        assert session.step == 0
    session = make_session(sparsity=0.5)
    with pytest.raises(Unsuitable, match=r"AC/DC needs .* of 13 steps .* leave steps 2 to 26 of 30; shorten"):
        pruner("acdc", {"phase": "13it"})(session)
    assert session.step == 0
    with pytest.raises(Unsuitable, match=r"an initial sparsity of 0\.6 is above the target of 0\.5; lower it"):
        pruner("granet", {"initial_sparsity": 0.6})(session)


def test_a_dense_first_layer_that_takes_too_much_is_refused_before_training():
    # 192 of 312 weights are in the first layer.
    session = make_session(sparsity=0.3)
    pruner("rigl", {"distribution": "uniform_first_dense"})(session)
    assert list(masks.kept(session.masks).values()) == [192, 21, 5]
    session = make_session(sparsity=0.5)
    with pytest.raises(Unsuitable, match=r"a dense first layer cannot be reached: it leaves 156 weights to 3 layers"):
        pruner("rigl", {"distribution": "uniform_first_dense"})(session)
    assert session.step == 0


def test_granet_by_hand():
    # 0.25 - 0.25 · (1/2)^3 = 0.219 after step 1: six of eight stay, 0.5 and 1 go. |dL/dA| is 4.5g in the first row and
    # 8.5g in the second, |dL/dB| g everywhere (test_imp_by_hand). A share 0.005 + 0.495 · (1 + cos(π/3))/2 of three is
    # more than one, so that two go: -2 and 3, 5 and 2.5. 3 comes back by its gradient; of equals the earlier come, of A
    # the first and of B the first and the third; the first of A and the third of B were pruned before and are zero.
    # After step 2 the target is met already, and one of three goes, a zero. With d = (-5, 6) and A·x = (0, -1), that of
    # A comes back, and of B the fourth comes in place of the third.
    session = pair_session(0.25, steps=4)
    pruner("granet", {"interval": "1it", "until": "3it"})(session)
    assert weights_left(session) == [[[0, 0], [3, -4]], [[5, -6], [0, 0]]]
    assert left(session) == [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
    assert session.notes == {"explored": 1.0}
    assert [(event.kind, event.step, event.steps, event.kept) for event in session.account.ledger.events] == [
        ("dense_gradients", 0, 1, (4, 4)),
        ("dense_gradients", 1, 1, (3, 3)),
        ("train", 2, 2, (3, 3)),
    ]


def test_granet_starts_sparse_where_it_is_told_to():
    session = Watched(sparsity=0.9)
    pruner("granet", {"initial_sparsity": 0.5, **OFTEN})(session)
    counts = [sum(event.kept) for event in session.account.ledger.events]
    assert counts[0] == 156
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == kept_count(0.9, 312)
    assert [step for step, *_ in session.seen] == [3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert session.notes["explored"] > 0.5
    after_the_end = [seen for seen in session.seen if seen[0] > 15]
    assert any((new[layer] & ~old[layer]).any() for _, old, _, new, _ in after_the_end for layer in new)
