"""PHEW: walks by hand, through blocks and groups, and networks without paths that could be told."""

from itertools import repeat

import pytest
import torch
from torch import nn

from lth_bench import Unsuitable
from lth_bench.data.examples import Examples
from lth_bench.pruning.allocation import kept_count
from lth_bench.pruning.wiring import wiring
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from lth_bench_plugins.phew import Map
from support.networks import CLASSES, recipe
from support.pairs import kept, left, pair_session, pruner


def session_of(network, shape, sparsity=0.5):
    data = Examples(torch.ones(6, *shape), torch.arange(6) % CLASSES)
    return Session(Setup(lambda seed: network, data, data, recipe(duration="1it", batch_size=2), sparsity, 0))


def paths(session):
    return Map(session.weights, wiring(session.topology.structure))


def test_walks_by_hand():
    # |A| = (1, 2; 3, 4), |B| = (5, 6; 0.5, 2.5). From input 0 on to hidden unit 1 with 3/4, then to output 0 with 6/8.5
    # = 0.706; back from output 0 to hidden unit 0 with 5/11 = 0.455, then to input 0 with 1/3.
    map = paths(pair_session())
    assert [(name, place) for name, place, _ in map.walk(0, iter([0.26, 0.7]))] == [("a.weight", 2), ("b.weight", 1)]
    assert [(name, place) for name, place, _ in map.walk(0, iter([0.24, 0.92]))] == [("a.weight", 0), ("b.weight", 2)]
    assert [(name, place) for name, place, _ in map.walk(1, iter([0.45, 0.34]))] == [("b.weight", 0), ("a.weight", 1)]
    # Walks 2 and 3 start at the second input and output, walk 4 at the first input again.
    assert next(map.walk(2, repeat(0.0)))[:2] == ("a.weight", 1)
    assert next(map.walk(3, repeat(0.0)))[:2] == ("b.weight", 2)
    assert next(map.walk(4, repeat(0.0)))[:2] == ("a.weight", 0)


def test_the_weights_passed_first_stay():
    # Draws of 0: walk 0 passes A's and B's first weights, walk 1 the same, walk 2 A's second (and B's first).
    session = pair_session(0.625)
    session.prune(pruner("phew", {}).scores(session, repeat(0.0)))
    assert left(session) == [[[1, 1], [0, 0]], [[1, 0], [0, 0]]]
    # These walks never pass A's second row; of what none passes, B's 6 is the largest.
    session = pair_session(0.25)
    session.prune(pruner("phew", {}).scores(session, repeat(0.0)))
    assert left(session) == [[[1, 1], [0, 1]], [[1, 1], [1, 0]]]


class Block(nn.Module):
    """A stem, a block beside a shortcut without weights, one beside a shortcut with weights, and an output layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 6, 1)
        self.short, self.norm, self.head = nn.Conv2d(4, 6, 1), nn.BatchNorm2d(4), nn.Linear(6 * 4, CLASSES)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.norm(self.one(x))).relu()
        x = (self.two(x) + self.short(x)).relu()
        return self.head(nn.functional.max_pool2d(x, 2).flatten(1))


def test_walks_pass_through_blocks_and_choose_between_those_with_weights():
    session = session_of(Block(), (1, 6, 6))
    map, draws = paths(session), iter(torch.rand(10000, dtype=torch.float64).tolist())
    walks = [[name.removesuffix(".weight") for name, *_ in map.walk(number, draws)] for number in range(100)]
    ways = {tuple(walk[:: -1 if number % 2 else 1]) for number, walk in enumerate(walks)}
    assert ways == {("stem", "one", way, "head") for way in ("two", "short")}


def test_a_walk_is_a_path_of_weights():
    session = session_of(Block(), (1, 6, 6))
    (stem, *_, head) = [(name, place) for name, place, _ in paths(session).walk(0, repeat(0.999))]
    # The last channel of the stem, and for each channel of 2×2 places four inputs of the output layer.
    assert stem[1] // 9 == 3 and head == ("head.weight", (CLASSES - 1) * 24 + 5 * 4 + 3)


def test_kernels_stay_whole():
    session = session_of(Block(), (1, 6, 6), sparsity=0.7)
    pruner("phew", {"kernels": True})(session)
    assert kept(session) == kept_count(0.7, sum(mask.numel() for mask in session.masks.values()))
    counts = session.masks["one.weight"].flatten(2).sum(2)
    assert int(((counts > 0) & (counts < 9)).sum()) <= 1


def test_the_inputs_of_a_group_go_to_its_outputs():
    network = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(4, CLASSES))
    map = paths(session_of(network, (4, 1, 1)))
    for number in range(8):
        name, place, _ = next(map.walk(2 * number, iter([0.5, 0.5, 0.5])))
        assert name == "0.weight" and place // 2 // 2 == number % 4 // 2 and place % 2 == number % 2


class Gate(nn.Module):
    """A layer that multiplies another's channels."""

    def __init__(self):
        super().__init__()
        self.a, self.gate, self.b = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.a(x)
        return self.b(x * self.gate(x).sigmoid())


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Gate(), "layer 'gate.weight' puts out channels that no other layer reads"),
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, CLASSES)), "as layer '[02].weight' "),
        (nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, CLASSES)), "'2.weight' sees more than the image"),
    ],
)
def test_networks_whose_paths_cannot_be_told_are_refused(network, words):
    with pytest.raises(Unsuitable, match=words):
        pruner("phew", {})(session_of(network, (3,)))
