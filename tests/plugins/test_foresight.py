"""Methods that prune at initialisation by gradients or flow: GraSP, SynFlow, iterative SNIP, FORCE."""

from itertools import combinations, pairwise

import pytest
import torch
from torch import nn

from lth_bench import Unsuitable
from lth_bench.data.examples import Batch, Examples
from lth_bench.experiments.plugins import load_plugins
from lth_bench.models.timm_models import make_model, register_models
from lth_bench.pruning import masks
from lth_bench.pruning.allocation import kept_count
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins import iterative_snip, synflow
from lth_bench_plugins.iterative_snip import fresh
from support.networks import CLASSES, examples, make_session, recipe, states_equal
from support.pairs import kept, left, pair_session, pruner

SCORERS = ["grasp", "synflow", "iterative_snip", "force"]


def scores_of(name, session, **arguments):
    method = pruner(name, arguments)
    batch = session.balanced_sample(5)
    if name == "synflow":
        return method.scores(session)
    return method.scores(session, session.masks, [batch]) if name == "force" else method.scores(session, [batch])


def session_of(make, shape=(2,), sparsity=0.5):
    data = Examples(torch.ones(6, *shape), torch.arange(6) % CLASSES)
    return Session(Setup(lambda seed: make(), data, data, recipe(duration="1it", batch_size=2), sparsity, 0))


def literature_session(name, shape, sparsity):
    register_models(load_plugins().models.items)
    return session_of(lambda: make_model(name, {}, shape, 10), shape, sparsity)


def examples_scored(session):
    return sum(event.examples for event in session.account.ledger.events if event.kind == "score")


# ---- what all have in common -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORERS)
def test_scoring_leaves_the_network_as_it_was(name):
    session = make_session()
    session.train(until="7it")
    before = {key: value.clone() for key, value in session.model.state_dict().items()}
    assert any((value < 0).any() for key, value in before.items() if key in session.weights)
    assert (before["norm.running_mean"] < 0).any()
    scores = scores_of(name, session)
    assert states_equal(before, session.model.state_dict())
    assert all(value.dtype == session.model.state_dict()[key].dtype for key, value in before.items())
    assert {layer: tuple(score.shape) for layer, score in scores.items()} == session.shapes
    assert all(not score.requires_grad and score.isfinite().all() for score in scores.values())
    assert all(weight.grad is None for weight in session.weights.values())


@pytest.mark.parametrize("name", SCORERS)
def test_what_stays_has_its_initial_weight(name):
    session = make_session(sparsity=0.8)
    initial = session.snapshot().state
    examples_each = {} if name == "synflow" else {"per_class": 5} if name == "grasp" else {"examples": 20}
    pruner(name, examples_each)(session)
    assert kept(session) == kept_count(0.8, 312)
    for layer, mask in session.masks.items():
        assert torch.equal(session.course.ticket.state[layer], initial[layer] * mask)


@pytest.mark.parametrize("name", ["grasp", "iterative_snip", "force"])
def test_batch_statistics_are_a_choice_and_the_default(name):
    session = make_session()
    session.train(until="7it")
    default, batch, running = (
        scores_of(name, session, **arguments)
        for arguments in ({}, {"batch_statistics": True}, {"batch_statistics": False})
    )
    assert states_equal(default, batch)
    assert not torch.allclose(batch["fc1.weight"], running["fc1.weight"])


@pytest.mark.parametrize("module", [synflow, iterative_snip])
def test_rounds_keep_the_same_share_each_and_end_at_the_target(module):
    assert module.kept_counts(0.875, 800, 3) == [400, 200, 100]
    assert module.kept_counts(0.9, 800, 1) == [80]
    assert module.kept_counts(0.0, 800, 3) == [800, 800, 800]
    counts = module.kept_counts(0.98, 10**9, 100)
    assert len(counts) == 100 and counts[-1] == 2 * 10**7
    assert all(later / earlier == pytest.approx(0.02**0.01) for earlier, later in pairwise([10**9, *counts]))


def test_rounds_end_at_the_target_where_it_is_rounded_up_and_they_are_rounded_down():
    # Of eight weights 2.04, 1.88, 1.73 and at last 1.6 remain.
    assert iterative_snip.kept_counts(0.8, 8, 20)[-4:] == [2, 2, 2, 2]


@pytest.mark.parametrize("name", ["iterative_snip", "force"])
def test_every_round_has_fresh_batches_and_pays_for_them(name):
    session = make_session(sparsity=0.9)
    pruner(name, {"rounds": 4, "batches": 2, "examples": 9})(session)
    assert examples_scored(session) == 4 * 2 * 9
    seen = [batch.inputs for round in range(4) for batch in fresh(make_session(), 9, 2, round)]
    assert all(not torch.equal(one, other) for one, other in combinations(seen, 2))


# ---- GraSP -----------------------------------------------------------------------------------------------------------


def test_grasp_by_hand():
    # Pair: y = B·A·x, x = (1, 1), class 0. The loss is log(1 + exp(f/T)) with f = y1 - y0 = d·u, d = B[1] - B[0] =
    # (-4.5, 8.5), u = A·x = (-1, -1), so f = -4; with s = 1 / (1 + exp(4/T)), a = s/T and b = s(1 - s)/T² its
    # derivatives to f are a and b, and Hg = a·(b·|df|²·df + a·d²f·df).
    # df: for A d_i, for B (-u, u); |df|² = 2·(4.5² + 8.5²) + 4 = 189. d²f·df: moving B by its df changes d by (-2, -2),
    # that is A's; moving A by its df changes u by (-9, 17), so B's is (9, -17) and (-9, 17).
    # Times the weights (1, -2, 3, -4; 5, -6, 0.5, 2.5):
    first = [-4.5, 9, 25.5, -34, 5, -6, -0.5, -2.5]
    second = [-2, 4, -6, 8, 45, 102, -4.5, 42.5]
    for temperature in (200.0, 1.0):
        s = 1 / (1 + torch.tensor(4 / temperature, dtype=torch.float64).exp().item())
        a, b = s / temperature, s * (1 - s) / temperature**2
        expected = [a * (189 * b * one + a * other) for one, other in zip(first, second, strict=True)]
        session = pair_session(0.5)
        for score, values in (("signed", expected), ("absolute", [abs(value) for value in expected])):
            grasp = pruner("grasp", {"temperature": temperature, "score": score})
            scores = grasp.scores(session, [session.sample(1)])
            found = [*scores["a.weight"].flatten().tolist(), *scores["b.weight"].flatten().tolist()]
            assert found == pytest.approx(values, rel=1e-4)
    # At T = 200, in units of a: -0.0103, 0.0205, 0.0153, -0.0204; 0.1173, 0.2454, -0.0117, 0.1022.
    for score, masks_left in (("signed", [[0, 1], [1, 0]]), ("absolute", [[0, 1], [0, 1]])):
        session = pair_session(0.375)
        pruner("grasp", {"per_class": 1, "score": score})(session)
        assert left(session) == [masks_left, [[1, 1], [0, 1]]]


def test_grasp_cuts_the_sorted_batch_in_parts():
    batch = Batch(torch.arange(15.0)[:, None], torch.arange(15) // 5)
    halves = pruner("grasp", {"parts": 2}).cut(batch)
    assert [part.labels.tolist() for part in halves] == [[0] * 5 + [1] * 2, [1] * 3 + [2] * 5]
    assert torch.equal(torch.cat([part.inputs for part in halves]), batch.inputs)
    (whole,) = pruner("grasp", {"parts": 1}).cut(batch)
    assert torch.equal(whole.inputs, batch.inputs)


def test_grasp_sums_over_its_parts():
    # The mean over two halves is half their sum, and g and H both enter: four times the score.
    session = make_session()
    batch = session.balanced_sample(10)
    whole, halves = (
        method.scores(session, method.cut(batch))
        for method in (pruner("grasp", {"parts": parts, "batch_statistics": False}) for parts in (1, 2))
    )
    largest = max(float(score.abs().max()) for score in whole.values())
    for layer, score in whole.items():
        assert torch.allclose(halves[layer], 4 * score, rtol=1e-3, atol=1e-5 * largest)


def test_grasp_charges_both_its_passes():
    session = make_session(sparsity=0.8)
    pruner("grasp", {"per_class": 5, "parts": 3})(session)
    assert examples_scored(session) == 2 * 3 * 5


class Attention(nn.Module):
    """Attention among the four rows of an image, computed as timm does."""

    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, CLASSES)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v).mean((1, 2)))


def test_grasp_takes_second_derivatives_of_attention():
    session = Session(Setup(lambda seed: Attention(), examples(70), examples(20, 1), recipe(), 0.5, 0))
    with pytest.raises(RuntimeError, match=r"derivative for .* is not implemented"):
        pruner("grasp", {}).products(session, [session.balanced_sample(5)])
    scores = pruner("grasp", {}).scores(session, [session.balanced_sample(5)])
    assert all(part.count_nonzero() for part in scores["qkv.weight"].chunk(3))


# ---- SynFlow ---------------------------------------------------------------------------------------------------------


def test_synflow_by_hand():
    # |A| = (1, 2; 3, 4), |B| = (5, 6; 0.5, 2.5), input (1, 1): |A|·1 = (3, 7), column sums of |B| (5.5, 8.5), so that
    # R = 16.5 + 59.5 = 76. Scores: for A 5.5, 11, 25.5, 34, for B 15, 42, 1.5, 17.5.
    session = pair_session(0.5)
    scores = pruner("synflow", {}).scores(session)
    assert scores["a.weight"].tolist() == [[5.5, 11.0], [25.5, 34.0]]
    assert scores["b.weight"].tolist() == [[15.0, 42.0], [1.5, 17.5]]
    pruner("synflow", {"rounds": 1})(session)
    assert left(session) == [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    # Pruned weights score zero, and so does B's first column, to which nothing flows any more.
    assert pruner("synflow", {}).scores(session)["a.weight"].tolist() == [[0.0, 0.0], [25.5, 34.0]]


class Bottle(nn.Module):
    """Two inputs, one hidden unit, four outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 1, bias=False), nn.Linear(1, 4, bias=False)
        self.a.weight.data = torch.tensor([[1.0, -1.1]])
        self.b.weight.data = torch.tensor([[4.0], [-3.0], [2.0], [1.0]])

    def forward(self, x):
        return self.b(self.a(x))


def test_synflow_looks_again_after_every_round():
    # |A|·1 = 2.1, sum of |B| 10: A scores 10 and 11, B 8.4, 6.3, 4.2, 2.1. At once, two of six are both of A.
    session = session_of(Bottle, sparsity=2 / 3)
    pruner("synflow", {"rounds": 1})(session)
    assert left(session) == [[[1, 1]], [[0], [0], [0], [0]]]
    # In two rounds three are left first, A's and B's first; with these A scores 4 and 4.4, B 8.4.
    session = session_of(Bottle, sparsity=2 / 3)
    pruner("synflow", {"rounds": 2})(session)
    assert left(session) == [[[0, 1]], [[1], [0], [0], [0]]]


def test_synflow_sees_no_data():
    one, other = make_session(sparsity=0.8), make_session(sparsity=0.8)
    other.order.data.images.zero_()
    for session in (one, other):
        pruner("synflow", {})(session)
    assert states_equal(one.masks, other.masks)
    assert examples_scored(one) == 100


def test_synaptic_flow_is_conserved_through_the_layers():
    session = literature_session("cifar_vgg11", (3, 32, 32), 0.5)
    scores = pruner("synflow", {}).scores(session)
    totals = [float(score.sum()) for score in scores.values()]
    assert totals == pytest.approx([totals[-1]] * len(totals), rel=1e-9)
    assert all(score.dtype == torch.float64 for score in scores.values())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet_300_100", (1, 28, 28)),
        ("lenet_5", (1, 28, 28)),
        ("conv_2", (1, 8, 8)),
        pytest.param("cifar_vgg11", (3, 32, 32), marks=pytest.mark.slow),
    ],
)
def test_synflow_does_not_collapse_a_layer_of_a_thousandfold_compressed_network(name, shape):
    at_once, in_rounds = (literature_session(name, shape, 0.999) for _ in range(2))
    for session, rounds in ((at_once, 1), (in_rounds, 100)):
        pruner("synflow", {"rounds": rounds})(session)
        assert kept(session) == kept_count(0.999, sum(mask.numel() for mask in session.masks.values()))
    assert min(masks.kept(at_once.masks).values()) == 0
    assert min(masks.kept(in_rounds.masks).values()) > 0


def test_synflow_leaves_a_way_through_a_thousandfold_compressed_residual_network():
    # Branches beside a shortcut may go entirely, so that layers may be empty; but something must get through.
    for rounds, expected in ((1, False), (100, True)):
        session = literature_session("cifar_resnet20", (3, 32, 32), 0.999)
        synflow = pruner("synflow", {"rounds": rounds})
        synflow(session)
        session.rewind(session.course.ticket)
        scores = synflow.scores(session)
        assert all(bool(scores[layer].any()) == expected for layer in ("conv1.weight", "fc.weight"))


def test_synflow_refuses_a_network_in_which_the_flow_overflows():
    def deep():
        layers = [nn.Linear(2, 2, bias=False) for _ in range(11)]
        for layer in layers:
            nn.init.constant_(layer.weight, 1e30)
        return nn.Sequential(*layers)

    with pytest.raises(Unsuitable, match="overflows float64"):
        pruner("synflow", {})(session_of(deep))


# ---- iterative SNIP and FORCE ----------------------------------------------------------------------------------------


def test_iterative_snip_and_force_by_hand():
    # In three rounds 5, 4 and 3 of Pair's 8 weights stay. |gradient × weight|, up to a factor, with d and u as in
    # test_grasp_by_hand, is |A_ij · d_i| and |B_ki · u_i|.
    # Round 1, d = (-4.5, 8.5), u = (-1, -1): A 4.5, 9, 25.5, 34, B 5, 6, 0.5, 2.5; A's first and B's second row go.
    # Round 2, d = (-5, 6), u = (-2, -1): A 5, 10, 18, 24, B 10, 6, 1, 2.5; B's second goes.
    # Round 3, d = (-5, 0), u = (-2, -1): A 5, 10, 0, 0, B 10, 6, 1, 2.5, if B's second may come back, as in FORCE. Else
    # the third weight is the first that scores zero, A's third.
    iterative, force = [[[0, 1], [1, 0]], [[1, 0], [0, 0]]], [[[0, 1], [0, 0]], [[1, 1], [0, 0]]]
    for name, chosen in (("iterative_snip", iterative), ("force", force)):
        session = pair_session(0.625)
        pruner(name, {"rounds": 3, "examples": 1})(session)
        assert left(session) == chosen
    session = pair_session(0.625)
    out = {
        "a.weight": torch.tensor([[False, True], [True, True]]),
        "b.weight": torch.tensor([[False, True], [False] * 2]),
    }
    scores = pruner("force", {}).scores(session, out, [session.sample(1)])
    # y = (6, 0), so that the factor is 1 / (1 + e⁶).
    factor = 0.00247262
    assert scores["a.weight"].flatten().tolist() == pytest.approx([0, 0, 18 * factor, 24 * factor], rel=1e-4)
    assert scores["b.weight"].flatten().tolist() == pytest.approx([v * factor for v in (10, 6, 1, 2.5)], rel=1e-4)
    session.adopt(out)
    scores = pruner("iterative_snip", {}).scores(session, [session.sample(1)])
    assert scores["b.weight"].flatten().tolist() == pytest.approx([0, 6 * factor, 0, 0], rel=1e-4)


def test_one_round_of_either_is_snip():
    chosen = {}
    for name, arguments in (("snip", {}), ("iterative_snip", {"rounds": 1}), ("force", {"rounds": 1})):
        session = make_session(sparsity=0.8)
        pruner(name, {"examples": 30, "batch_statistics": False, **arguments})(session)
        chosen[name] = session.masks
    assert states_equal(chosen["snip"], chosen["iterative_snip"]) and states_equal(chosen["snip"], chosen["force"])
