"""What is no plain training is neither looked up nor stored; and what was looked up leaves no trace of that."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import random
import sys
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from lth_bench.data.examples import Examples
from lth_bench.errors import Diverged
from lth_bench.storage.source_hash import modules_hash
from lth_bench.storage.store import Store
from lth_bench.storage.upkeep import usage
from lth_bench.training.memory import Memory, Watch
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, examples, network, recipe
from support.stored import outcome, session, spent

SETUP = Setup(network, examples(70), examples(20, 1), RECIPES["sgd"], 0.5, 0, None)


def session_of(make, memory):
    return Session(dataclasses.replace(SETUP, network=make, memory=memory))


def parametrised(made):
    torch.nn.utils.parametrizations.weight_norm(made.model.fc2)


def frozen(made):
    made.model.fc2.bias.requires_grad_(False)


def hooked(made):
    made.model.fc1.register_forward_hook(lambda module, inputs, output: output * 2)


def gradient_hooked(made):
    made.model.fc1.weight.register_hook(lambda gradient: gradient * 2)


def patched(made):
    made.model.fc1.forward = lambda x: torch.nn.functional.linear(x, 2 * made.model.fc1.weight)


def replaced(made):
    made.model.relu1 = torch.nn.Tanh()


def retuned(made):
    made.model.dropout.p = 0.5


def configured(made):
    made.model.relu1.options.slopes[0] = 0.5


def laid_out_otherwise(made):
    weight = made.weights["fc1.weight"]
    weight.data = weight.data.t().contiguous().t()


def another_loss(made):
    loss = made.loss
    made.loss = lambda batch: 2 * loss(batch)


def another_class(made):
    class Mine(Session):
        def loss(self, batch):
            return 2 * super().loss(batch)

    made.__class__ = Mine


def another_schedule(made):
    made.clock.total = 60


def another_recipe(made):
    made.clock.recipe = dataclasses.replace(made.recipe, weight_decay=0.02)


def another_seed(made):
    made.clock.seed = 1


NETWORKS = [parametrised, frozen, hooked, gradient_hooked, patched, replaced, retuned, configured, laid_out_otherwise]
LOOPS = [another_loss, another_class, another_schedule, another_recipe, another_seed]


def with_options(seed):
    made = network(seed)
    made.relu1.options = SimpleNamespace(slopes=[0.0])
    return made


@pytest.mark.parametrize("change", NETWORKS + LOOPS)
def test_what_is_not_the_plain_network_is_neither_looked_up_nor_stored(tmp_path, change):
    store = Store(tmp_path)
    session_of(with_options, Memory(store, {})).train(until=30)
    before = usage(store)
    made = session_of(with_options, Memory(store, {}))
    change(made)
    made.train(until=30)
    assert spent(made) == (30, 0)
    assert usage(store) == before


def followed_step(made):
    made.optimizer.register_step_post_hook(lambda *arguments: made.weights["fc1.weight"].data.mul_(0.9))


def patched_step(made):
    step = made.optimizer.step
    made.optimizer.step = lambda: (step(), step())


def another_optimizer(made):
    made.optimizer = torch.optim.RMSprop(made.model.parameters())


@pytest.mark.parametrize("change", [followed_step, patched_step, another_optimizer])
def test_an_optimizer_that_is_not_the_recipes_is_neither_looked_up_nor_stored(tmp_path, change):
    store = Store(tmp_path)
    made = session(store)
    made.train(until=3)
    made.train()
    before = usage(store)
    made = session(store)
    made.train(until=3)
    change(made)
    made.train()
    assert spent(made) == (27, 3)
    assert usage(store) == before


def test_training_under_autocast_a_global_hook_or_a_patched_loss_is_not_looked_up(tmp_path, monkeypatch):
    store = Store(tmp_path)
    session(store).train()
    made = session(store)
    with torch.autocast("cpu"):
        made.train()
    assert spent(made) == (30, 0)
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    made = session(store)
    try:
        made.train()
    finally:
        handle.remove()
    assert spent(made) == (30, 0)
    made = session(store)
    cross_entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda *a, **k: cross_entropy(*a, **k) / 2)
    made.train()
    assert spent(made) == (30, 0)


class Counting(torch.nn.Module):
    """What changes as it is used, outside of what is saved."""

    def __init__(self, hidden):
        super().__init__()
        self.register_buffer("factor", torch.ones(1), persistent=False)
        self.hidden, self.count = hidden, 0

    def forward(self, inputs):
        if self.training and self.hidden:
            self.factor += 0.01
        elif self.training:
            self.count += 1
        return inputs * (self.factor + self.count / 100)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_network_that_changes_as_it_is_used_is_not_stored(tmp_path, hidden):
    def counting(seed):
        made = network(seed)
        made.relu1 = Counting(hidden)
        return made

    results = []
    for store in (None, Store(tmp_path), Store(tmp_path)):
        made = session_of(counting, Memory(store, {}, Watch(checkpoint_every=0)) if store else None)
        made.train(until=10)
        made.train()
        results.append(outcome(made))
        assert spent(made) == (30, 0)
    assert results[0] == results[1] == results[2]
    assert usage(store).counts == {}


class Slotted:
    __slots__ = ("seen",)

    def __init__(self):
        self.seen = 0


def drawn(generator):
    return float(torch.rand(1, generator=generator))


def counted(slotted):
    slotted.seen += 1
    return slotted.seen / 100


def turned(queue):
    queue.rotate(1)
    return queue[0]


HELD = {
    "random": (lambda: random.Random(0), lambda held: held.random()),
    "numpy": (lambda: np.random.default_rng(0), lambda held: float(held.random())),
    "torch": (lambda: torch.Generator().manual_seed(0), drawn),
    "deque": (lambda: deque([0.1, 0.2, 0.3]), turned),
    "slots": (Slotted, counted),
    "iterator": (itertools.count, lambda held: next(held) / 100),
}


@pytest.mark.parametrize("kind", HELD)
def test_what_a_layer_holds_and_changes_is_seen(tmp_path, kind):
    make, use = HELD[kind]

    class Holding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.held = make()

        def forward(self, inputs):
            return inputs * (1 + use(self.held)) if self.training else inputs

    def holding(seed):
        made = network(seed)
        made.relu1 = Holding()
        return made

    results = []
    for store in (None, Store(tmp_path), Store(tmp_path)):
        made = session_of(holding, Memory(store, {}) if store else None)
        made.train(until=10)
        made.train()
        results.append(outcome(made))
    assert results[0] == results[1] == results[2]
    assert spent(made) == (30, 0)


def test_tangled_and_deep_attributes_take_no_time(tmp_path):
    def tangled(seed):
        made = network(seed)
        deep = []
        for _ in range(5000):
            deep = [deep]
        many = [SimpleNamespace() for _ in range(30)]
        for one in many:
            one.others = many
        made.relu1.many, made.relu2.deep, made.fc1.alias = many, deep, [made.fc1.weight]
        return made

    session_of(tangled, Memory(Store(tmp_path), {})).train(until=10)
    made = session_of(lambda seed: tangled(seed), Memory(Store(tmp_path), {}))
    made.model.relu2.deep = None
    made.train(until=10)
    assert spent(made) == (10, 0)


def test_families_of_timm_stay_plain_as_they_are_trained_and_measured(tmp_path):
    for name in ("resnet18", "convnext_atto", "vit_tiny_patch16_224", "levit_128s", "mobilenetv3_small_050"):
        size = {"img_size": 32} if name.startswith("vit") else {}
        images = Examples(
            torch.zeros(8, 3, 224, 224, dtype=torch.uint8), torch.arange(8) % 10, torch.ones(1), torch.ones(1)
        )
        if size:
            images = Examples(images.images[:, :, :32, :32], images.labels, images.scale, images.shift)
        setup = dataclasses.replace(
            SETUP,
            network=lambda seed, name=name, size=size: timm.create_model(name, num_classes=10, **size),
            training=images,
            validation=images,
            recipe=recipe(duration="1it", batch_size=4, measure_every="1it"),
        )
        made = Session(dataclasses.replace(setup, memory=Memory(Store(tmp_path / name), {})))
        made.train()
        assert usage(Store(tmp_path / name)).counts["entries"] == 1, name


def from_evaluation_mode(made):
    made.model.eval()
    made.train(until=5)
    return [module.training for module in made.model.modules()]


def with_gradients_left(made):
    made.loss(made.sample(20)).backward()
    made.train(until=5)
    made.loss(made.sample(20)).backward()
    return made.weights["fc1.weight"].grad.tolist()


def with_the_optimizer_in_hand(made):
    made.train(until=3)
    held = made.optimizer
    made.train(until=6)
    held.param_groups[0]["weight_decay"] = 0.5
    made.train()
    return made.weights["fc1.weight"].tolist()


def with_divergence_caught(made):
    made.model.fc3.bias.data += float("nan")
    with pytest.raises(Diverged):
        made.train()
    made.model.load_state_dict(network(1).state_dict())
    with pytest.raises(Diverged):
        made.train()
    with pytest.raises(Diverged) as error:
        made.finish()
    return str(error.value), sum(spent(made))


USES = [from_evaluation_mode, with_gradients_left, with_the_optimizer_in_hand, with_divergence_caught]


@pytest.mark.parametrize("use", USES)
def test_what_was_looked_up_leaves_the_session_as_what_was_computed(tmp_path, use):
    store = Store(tmp_path)
    assert use(session(None)) == use(session(store)) == use(session(store))


def test_a_model_is_known_by_all_the_files_that_it_uses(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "own" / "parts"
    package.mkdir(parents=True)
    (tmp_path / "ownmodel.py").write_text("import torch, own.parts.layers as layers\ndef make():\n    import lazy")
    (package / "layers.py").write_text("from .. import top\nfrom . import deep\nimport nowhere, ownmodel, yaml")
    files = [tmp_path / "lazy.py", package / "deep.py", package.parent / "__init__.py", package.parent / "top.py"]
    for file in (*files, package / "__init__.py", tmp_path / "other.py"):
        file.write_text("")

    def hashed(*names):
        importlib.invalidate_caches()
        modules_hash.cache_clear()
        return modules_hash(frozenset(names))

    seen = [hashed("ownmodel")]
    for file in files:
        file.write_text("a = 1")
        seen.append(hashed("ownmodel", "json", "torch.nn", "nowhere"))
    assert len(set(seen)) == len(files) + 1
    (tmp_path / "other.py").write_text("a = 1")
    assert hashed("ownmodel") == seen[-1]
    assert "ownmodel" not in sys.modules, "nothing is imported for that"
