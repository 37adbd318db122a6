"""Structured methods: a case of each by hand, what they end in, and networks that they refuse."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from lth_bench import Duration, Unsuitable
from lth_bench.data.examples import Examples
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.structured import filter_layers, filter_norms, ranks, scales, train_with_penalty
from lth_bench.models.timm_models import register_models
from lth_bench.pruning import masks
from lth_bench.pruning.channels import thin
from lth_bench.running.outcomes import outcome
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, examples, make_session, recipe, states_equal

PLUGINS = load_plugins()
register_models(PLUGINS.models.items)
METHODS = {
    "early_bird": {"latest": "12it", "interval": "6it"},
    "slimming": {},
    "l1_filter": {},
    "taylor": {"rounds": 3, "batches": 2, "examples": 20},
}


def pruner(name, **arguments):
    return instantiate(PLUGINS.pruners, name, arguments)


# ---- by hand: 1×1 convolutions of one pixel --------------------------------------------------------------------------


class Triple(nn.Module):
    """Two layers of three channels with batch norm and one of two classes: 3·1 + 3·3 + 2·3 = 18 prunable weights."""

    def __init__(self):
        super().__init__()
        self.one, self.norm_one = nn.Conv2d(1, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.two, self.norm_two = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 2, bias=False)
        self.one.weight.data = torch.tensor([3.0, -1.0, 2.0]).view(3, 1, 1, 1)
        self.two.weight.data = torch.tensor([[1.0, 1, 1], [1, -4, 0], [0, 1, 0.5]]).view(3, 3, 1, 1)
        self.fc.weight.data = torch.tensor([[1.0, -1, 1], [2, 1, -1]])
        self.norm_one.weight.data = torch.tensor([0.9, -0.8, 0.1])
        self.norm_two.weight.data = torch.tensor([0.5, -0.2, 0.3])

    def forward(self, x):
        x = self.norm_one(self.one(x)).relu()
        return self.fc(self.norm_two(self.two(x)).relu().flatten(1))


def triple_session(sparsity, rate=1e-12, steps=1):
    """A Session of one step of one batch of four images of one pixel, which hardly moves the weights."""
    data = Examples(torch.tensor([1.0, -1.0, 2.0, 0.5]).view(4, 1, 1, 1), torch.tensor([0, 1, 0, 1]))
    training = Recipe(Duration(f"{steps}it"), 4, rate, measure_every=Duration(f"{steps}it"))
    return Session(Setup(lambda seed: Triple(), data, data, training, sparsity, 0))


def kept(session):
    return {name.removesuffix(".weight"): channel.int().tolist() for name, channel in session.channels.items()}


@pytest.mark.parametrize("name", ["slimming", "early_bird"])
def test_channels_with_small_scales_go_over_all_layers(name):
    # |scales|: 0.9, 0.8, 0.1 and 0.5, 0.2, 0.3. In order 0.1 (one, channel 2: 1 + 3 weights), 0.2 (two, channel 1: of
    # its 3 weights 2 are left by then, and 2 behind), 0.3 (two, channel 2: 2 + 2), 0.8 (one, channel 1: 1 + 1).
    for sparsity, one, two, left in (
        (4 / 18, [1, 1, 0], [1, 1, 1], 14),
        (5 / 18, [1, 1, 0], [1, 0, 1], 10),
        (0.5, [1, 1, 0], [1, 0, 0], 6),
        (0.7, [1, 0, 0], [1, 0, 0], 4),
    ):
        session = triple_session(sparsity)
        pruner(name)(session)
        assert kept(session) == {"one": one, "two": two}
        assert sum(masks.kept(session.masks).values()) == left
        assert session.model.norm_two.bias[~session.channels["two.weight"]].count_nonzero() == 0
    with pytest.raises(Unsuitable, match=r"one channel in each, it is 0\.7778"):
        pruner(name)(triple_session(0.9))


def test_filters_of_small_norm_go_layer_by_layer():
    # L1 norms: 3, 1, 2 and 3, 5, 1.5. Shares by place: 1, 1/3, 2/3 and 2/3, 1, 1/3. The lowest are the second of the
    # first layer and the third of the second; of ties the later goes first.
    session = triple_session(0.0)
    norms = filter_norms(session, filter_layers(session, "convolutions", "inner"))
    assert {name: norm.tolist() for name, norm in norms.items()} == {
        "one.weight": [3.0, 1.0, 2.0],
        "two.weight": [3.0, 5.0, 1.5],
    }
    assert torch.cat(list(ranks(norms).values())).tolist() == pytest.approx([1, 1 / 3, 2 / 3, 2 / 3, 1, 1 / 3])
    for sparsity, one, two in (
        (0.1, [1, 1, 1], [1, 1, 0]),
        (0.3, [1, 0, 1], [1, 1, 0]),
        (0.6, [1, 0, 1], [0, 1, 0]),
        (0.75, [1, 0, 0], [0, 1, 0]),
    ):
        session = triple_session(sparsity)
        pruner("l1_filter")(session)
        assert kept(session) == {"one": one, "two": two}


def test_neurons_of_hidden_linear_layers_go_too_if_asked():
    session = make_session(sparsity=0.5)
    with pytest.raises(Unsuitable, match='no convolution of this network may be pruned; set layers to "all"'):
        pruner("l1_filter")(session)
    pruner("l1_filter", layers="all")(session)
    assert session.channels.keys() == {"fc1.weight", "fc2.weight"}
    shares = [float(channel.float().mean()) for channel in session.channels.values()]
    assert shares == pytest.approx([7 / 12, 4 / 8]), "the same share of both layers, to one channel"


def test_a_penalty_is_added_to_the_gradient_of_scales():
    penalised, plain = triple_session(0.0, rate=0.5), triple_session(0.0, rate=0.5)
    before = penalised.snapshot().state
    train_with_penalty(penalised, 0.1)
    train_with_penalty(plain, 0.0)
    for name, value in penalised.model.named_parameters():
        signs = before[name].sign() if name in ("norm_one.weight", "norm_two.weight") else 0.0
        assert torch.allclose(value, plain.model.get_parameter(name) - 0.5 * 0.1 * signs, atol=1e-7)


def test_distances_and_when_masks_have_settled_by_hand():
    zero, one, two = (torch.arange(10) < count for count in (0, 1, 2))
    consecutive, newest = pruner("early_bird", queue=3, threshold=0.2), pruner("early_bird", queue=3, compared="newest")
    assert consecutive.distances([zero, one, two, two]) == pytest.approx([0.1, 0.1, 0.0])
    assert consecutive.distances([zero, two, two, one, one]) == pytest.approx([0.0, 0.1, 0.0])
    assert newest.distances([zero, one, two, two]) == pytest.approx([0.1, 0.0])
    assert newest.distances([zero, zero, one, two]) == pytest.approx([0.2, 0.1])
    assert not consecutive.settled([zero, one, one]), "two distances only"
    assert consecutive.settled([zero, one, two, two]) and not consecutive.settled([zero, two, two, two])
    assert consecutive.settled([zero, two, two, two, two])
    assert not newest.settled([two, two]) and newest.settled([zero, two, two, two])
    assert not newest.settled([two, two, one]), "0.1 is not below 0.1"


def network_with_norm(sparsity=0.5, **changes):
    return make_session(recipe(duration="42it", measure_every="7it", **changes), sparsity)


def test_the_search_ends_when_masks_have_settled():
    session = network_with_norm(learning_rate=1e-4)
    session.model.norm.weight.data = torch.arange(1.0, 13.0)
    pruner("early_bird", latest="100%")(session)
    # An epoch has 7 steps; after six of them there are five distances, all zero.
    assert session.notes == {"epoch": 6.0, "settled": True, "distances": [0.0] * 5}
    assert session.channels["fc1.weight"].int().tolist() == [0] * 7 + [1] * 5
    session = network_with_norm(learning_rate=1e-4)
    session.model.norm.weight.data = torch.arange(1.0, 13.0)
    pruner("early_bird", interval="2it", queue=2)(session)
    assert session.notes == {"epoch": pytest.approx(6 / 7), "settled": True, "distances": [0.0] * 2}
    assert (session.course.ticket.step, session.step) == (6, 42)


def test_a_search_that_does_not_settle_ends_at_the_latest_step():
    session = network_with_norm()
    pruner("early_bird", latest="10it", interval="4it")(session)
    assert session.notes["settled"] is False and session.notes["epoch"] == pytest.approx(10 / 7)
    assert len(session.notes["distances"]) == 2, "masks after 4, 8 and 10 steps"
    assert (session.course.ticket.step, session.step) == (10, 42)
    session.finish()
    made = outcome([session])
    assert made.facts.notes["settled"] is False


def test_the_penalty_may_stay_after_the_search():
    ends = {}
    for later in (0.0, 0.5):
        session = network_with_norm()
        pruner("early_bird", latest="10it", interval="4it", later_penalty=later)(session)
        ends[later] = float(session.model.norm.weight.detach().abs().sum())
    assert ends[0.5] < ends[0.0] - 0.5


# ---- training afterwards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "steps"),
    [("fine_tuning", 24), ("learning_rate_rewinding", 24), ("weight_rewinding", 24), ("scratch_e", 30)],
)
def test_ways_of_training_again(how, steps):
    session = make_session(sparsity=0.5)
    pruner("slimming", retraining=how, rewind_to="6it")(session)
    assert sum(event.steps for event in session.account.ledger.events) == 30 + steps
    assert session.course.ticket.step == {"fine_tuning": 30, "scratch_e": 0}.get(how, 6)


def test_from_scratch_means_other_initial_weights_in_the_channels_that_were_found():
    first, other = make_session(), make_session()
    other.redraw()
    session = make_session(sparsity=0.5)
    pruner("l1_filter", layers="all", retraining="scratch_e")(session)
    found = make_session(sparsity=0.5)
    pruner("l1_filter", layers="all")(found)
    assert states_equal(session.channels, found.channels)
    for name, mask in session.masks.items():
        drawn = session.course.ticket.state[name]
        assert torch.equal(drawn, other.weights[name] * mask)
        assert not (drawn[mask] == first.weights[name][mask]).any()


def test_with_as_many_operations_training_lasts_longer_but_not_more_than_twice():
    for sparsity, expected in ((0.25, None), (0.8, 2.0)):
        session = make_session(sparsity=sparsity)
        pruner("slimming", retraining="scratch_b")(session)
        dense, left = (session.flops(given) for given in (masks.full(session.weights), session.masks))
        assert (dense, left) == (2 * 312, 2 * sum(masks.kept(session.masks).values()))
        assert session.notes == {"stretched": expected or dense / left}
        steps = round(30 * (expected or dense / left))
        assert session.total_steps == session.step == steps
        assert sum(event.steps for event in session.account.ledger.events) == 30 + steps


# ---- networks --------------------------------------------------------------------------------------------------------


def on(model, sparsity, size=8, **arguments):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(60, 1, size, size, generator=generator), torch.arange(60) % 3
    data = Examples(images, labels)

    def network(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return timm.create_model(model, num_classes=3, in_chans=1, **arguments)

    training = recipe(duration="24it", measure_every="12it", optimizer="adam", momentum=0.0, learning_rate=0.01)
    return Session(Setup(network, data, data, training, sparsity, 0))


RESNET = {"model": "cifar_resnet20", "width": 0.25}
VGG = {"model": "cifar_vgg11", "width": 0.125, "size": 16}
LENET = {"model": "lenet_300_100", "img_size": (8, 8)}
VIT = {
    "model": "vit_tiny_patch16_224",
    "img_size": 8,
    "patch_size": 2,
    "depth": 2,
    "embed_dim": 32,
    "num_heads": 2,
}
EVERYTHING = {"layers": "all", "branches": "all"}
WORKING = [
    *((name, METHODS[name], network) for name in METHODS for network in (RESNET, VGG)),
    ("l1_filter", EVERYTHING, LENET),
    ("l1_filter", EVERYTHING, VIT),
    ("l1_filter", EVERYTHING, RESNET),
    *(("taylor", {**METHODS["taylor"], **EVERYTHING}, network) for network in (LENET, VIT, RESNET)),
]


@pytest.mark.parametrize(("name", "arguments", "network"), WORKING, ids=str)
def test_the_target_is_met_by_less_than_one_channel(name, arguments, network):
    session = on(sparsity=0.8, **network)
    pruner(name, **arguments)(session)
    session.finish()
    size = sum(mask.numel() for mask in session.masks.values())
    left = sum(masks.kept(session.masks).values())
    full, anatomy = masks.full(session.weights), session.topology.structure
    assert states_equal(session.masks, thin(anatomy, full, session.channels)) and left <= 0.2 * size
    back = (
        sum(
            masks.kept(
                thin(anatomy, full, {**session.channels, layer: channel | (torch.arange(len(channel)) == place)})
            ).values()
        )
        for layer, channel in session.channels.items()
        for place in (~channel).nonzero().flatten().tolist()
    )
    assert any(more > 0.2 * size for more in back)
    assert all(bool(mask.any()) for mask in session.masks.values()), "no layer is empty"
    for layer, weight in session.weights.items():
        assert not weight[~session.masks[layer]].any()


REFUSED = [
    ("early_bird", {}, LENET, "no prunable layer of this network has a batch norm right behind it; take the pruner l1"),
    ("slimming", {}, VIT, "no prunable layer of this network has a batch norm right behind it"),
    ("l1_filter", {}, LENET, 'set layers to "all" to prune neurons'),
    ("l1_filter", {}, VIT, 'added to others, so that nothing is saved behind it; set branches to "all"'),
    ("taylor", {}, LENET, 'set layers to "all" to prune neurons'),
    ("taylor", {"layers": "all"}, VIT, "a sparsity of 0.8 cannot be reached by removing channels of 2 layers"),
    ("l1_filter", {"layers": "all"}, VIT, "a sparsity of 0.8 cannot be reached by removing channels of 2 layers"),
]


@pytest.mark.parametrize(("name", "arguments", "network", "words"), REFUSED, ids=lambda value: str(value)[:20])
def test_networks_that_do_not_fit_are_refused_before_training(name, arguments, network, words):
    session = on(sparsity=0.8, **network)
    with pytest.raises(Unsuitable, match=words):
        pruner(name, **arguments)(session)
    assert session.step == 0 and session.account.ledger.events == []


def test_only_the_first_convolution_of_a_block_is_pruned_unless_all_are_asked_for():
    session = on(sparsity=0.0, **RESNET)
    inside = {f"layer{stage}.{block}.conv1.weight" for stage in (1, 2, 3) for block in (0, 1, 2)}
    assert set(filter_layers(session, "convolutions", "inner")) == inside
    assert set(filter_layers(session, "convolutions", "all")) == session.weights.keys() - {"fc.weight"}
    assert set(filter_layers(session, "all", "all")) == session.weights.keys() - {"fc.weight"}
    assert set(scales(session)) == session.weights.keys() - {"fc.weight"}
    # Of preactivated blocks, norms that read a sum are no layer's.
    session = on("wrn_22_2", 0.0)
    assert {name.split(".")[-2] for name in scales(session)} == {"conv1"}


@pytest.mark.parametrize("name", METHODS)
def test_the_same_session_twice_gives_the_same_network(name):
    ends = []
    for _ in range(2):
        session = on(sparsity=0.5, **VGG)
        pruner(name, **METHODS[name])(session)
        ends.append(session.model.state_dict())
    assert states_equal(*ends)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("early_bird", {"penalty": -1e-4}),
        ("early_bird", {"queue": 0}),
        ("early_bird", {"threshold": 0.0}),
        ("early_bird", {"threshold": 1.0}),
        ("early_bird", {"interval": "often"}),
        ("early_bird", {"compared": "all"}),
        ("slimming", {"penalty": "much"}),
        ("slimming", {"retraining": "scratch"}),
        ("l1_filter", {"layers": "convolution"}),
        ("l1_filter", {"branches": True}),
        ("l1_filter", {"rewind_to": 3}),
        ("taylor", {"criterion": "gates"}),
        ("taylor", {"rounds": 0}),
        ("taylor", {"momentum": 1.0}),
    ],
)
def test_parameters_without_a_meaning_are_refused(name, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        pruner(name, **arguments)


def test_an_interval_shorter_than_a_step_is_refused():
    with pytest.raises(Unsuitable, match="less than one step"):
        pruner("early_bird", interval="0.01ep")(network_with_norm())


def test_scores_inverted_remove_the_other_channels():
    session = triple_session(0.2)
    with session.inverted():
        pruner("slimming")(session)
    assert kept(session)["one"] == [0, 1, 1]


def test_the_memory_serves_what_is_trained_without_a_penalty(tmp_path):
    from lth_bench.storage.store import Store
    from lth_bench.training.memory import Memory

    ends = []
    for store in (None, Store(tmp_path), Store(tmp_path)):
        session = make_session(RECIPES["adam"])
        if store:
            session = Session(
                Setup(session._network, examples(70), examples(20, 1), RECIPES["adam"], 0.5, 0, Memory(store, {}))
            )
        pruner("l1_filter", layers="all", retraining="learning_rate_rewinding", rewind_to="0it")(session)
        session.finish()
        ends.append(session.model.state_dict())
    assert states_equal(ends[0], ends[1]) and states_equal(ends[1], ends[2])
    assert session.account.spent.steps_computed == 0
