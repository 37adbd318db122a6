"""An outcome is evaluated in a network built anew; a network that is more than its state does not count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lth_bench.experiments.experiment import Choice, Experiment, Planned
from lth_bench.experiments.plugins import Provider, load_plugins
from lth_bench.hashing import sha256
from lth_bench.pruning.tickets import read_ticket
from lth_bench.running.context import Context
from lth_bench.running.run import run
from lth_bench.storage.record import identity
from lth_bench.storage.records import packages_path, ticket_path
from lth_bench.storage.source_hash import package_hash
from support.networks import recipe


class Turning(nn.Module):
    """Sees its image the other way round from its first training pass on, and keeps that to itself."""

    def __init__(self, classes, turns):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, classes))
        self.turns, self.turned = turns, False

    def forward(self, x):
        x = x.flatten(1)
        self.turned = self.turned or (self.training and self.turns)
        return self.layers(x.flip(1) if self.turned else x)


@dataclass(frozen=True)
class Adopting:
    """Keeps the first inputs of every layer, whatever is asked for."""

    def __call__(self, session):
        session.train()
        session.adopt({name: torch.arange(w.shape[1]).expand_as(w) < 20 for name, w in session.weights.items()})


def recorded(tmp_path, turns, pruner="dense", sparsity=0.0, pattern=""):
    plugins = load_plugins()
    plugins.pruners.add("adopting", Adopting, Provider("tests", __name__, "tests", "0"))

    def make(pretrained=False, in_chans=1, num_classes=10, **others):
        return Turning(num_classes, turns)

    name = f"turning_{turns}_{pruner}_{pattern}".lower().replace(":", "_")
    plugins.models.add(name, make, Provider("tests", __name__, "tests", "0"))
    context = Context(plugins, None, torch.device("cpu"))
    trained = recipe(duration="3ep", batch_size=64, learning_rate=0.1, momentum=0.9)
    experiment = Experiment(Choice("digits"), Choice(name), trained, Choice(pruner), sparsity, 0, pattern=pattern)
    return run(identity("tests", Planned(experiment, pruner, "short", False)), tmp_path, context)


def test_state_outside_the_state_dict_makes_a_record_invalid(tmp_path):
    record = recorded(tmp_path, True)
    assert (record.status, record.error.kind) == ("failed", "invalid")
    assert "not in its state dict" in record.error.message


def test_the_same_network_without_it_counts(tmp_path):
    assert recorded(tmp_path, False).status == "done"


def test_a_record_tells_which_images_are_right_and_with_what_it_was_made(tmp_path):
    record = recorded(tmp_path, False, "random", 0.5)
    assert record.status == "done", record.error
    right = record.test.answers.each()
    network = Turning(10, False)
    network.load_state_dict(read_ticket(ticket_path(tmp_path, record.key), record.ticket.sha256).final)
    context = Context(load_plugins(), None, torch.device("cpu"))
    (examples,) = context.test(Choice("digits")).chunks(10**4)
    assert right == (network(examples[0]).argmax(1) == examples[1]).tolist()
    assert 0 < sum(right) < len(right) == record.test.answers.images
    made = record.environment
    assert sorted(made.plugins) == ["dataset", "model", "pruner"] and made.plugins["model"].module == __name__
    assert made.processor and made.source == package_hash()
    packages = packages_path(tmp_path, made.packages).read_bytes()
    assert f"torch=={made.torch}\n" in packages.decode() and sha256(packages) == made.packages


def test_a_network_that_is_pruned_after_its_last_step_counts_as_it_is_then(tmp_path):
    record = recorded(tmp_path, False, "wanda", 0.95)
    assert record.status == "done", record.error
    assert record.ticket.step == record.curve.step[-1]
    assert record.test.last.accuracy < record.curve.validation_accuracy[-1] - 0.02, "no training after the mask"


def test_a_pattern_is_measured_and_dense_layers_are_listed(tmp_path):
    record = recorded(tmp_path, False, "magnitude", 0.9375, "1:16")
    size, kept = 64 * 32 + 32 * 10, (64 * 32 + 32 * 10) // 16
    assert (record.sparsity.mask, record.sparsity.measured) == (kept, 1 - kept / size)
    assert record.notes is None
    record = recorded(tmp_path, False, "magnitude", 1 - 1 / 64, "1:64")
    assert record.sparsity.mask == 32 + 32 * 10
    assert record.notes == {
        "dense_layers": ["layers.2.weight"],
        "off_target": "layers.2.weight dense, as inputs do not come in groups of 64",
    }


def test_masks_that_do_not_hold_the_pattern_make_a_record_invalid(tmp_path):
    record = recorded(tmp_path, False, "adopting", 0.5, "2:4")
    assert (record.status, record.error.kind) == ("failed", "invalid")
    assert record.error.message == (
        "the pruner 'adopting' was to hold 2:4, but layer 'layers.0.weight' keeps more than 2 weights in 160 of its "
        "512 groups; prune by session.prune(), or refuse patterns by raising Unsuitable"
    )
