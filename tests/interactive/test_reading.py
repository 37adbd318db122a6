"""Results, records, tickets and networks from Python."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import lth_bench
from lth_bench.errors import FileFault
from lth_bench.models.predictions import evaluate
from lth_bench.running.worker import make_context
from support.places import ROOT
from support.suites import finish, pruner, write_suite


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    methods = pruner("dense", sparsities=[0.0]) + pruner("magnitude") + pruner("l1_filter")
    adapted = '{ name = "test_resnet", arguments = { stem = "cifar" } }'
    finish(write_suite(folder / "s.toml", methods, model=adapted, duration="4it", sparsities=[0.5]), folder / "run")
    return folder / "run"


def keys(directory):
    table = lth_bench.results(directory)
    return dict(zip(table["pruner"], table["key"], strict=True))


def test_results_and_leaderboards_say_the_same(directory):
    table, board = lth_bench.results(str(directory)), lth_bench.leaderboard(directory)
    assert list(table["status"]) == ["done"] * 3 and list(table["target"]) == [0.0, 0.5, 0.5]
    both = table.merge(board, on=["dataset", "model", "recipe", "method", "target"], suffixes=("", "_mean"))
    assert len(both) == 3 and (both["accuracy"] == both["accuracy_mean"]).all()
    assert both["difference"].equals(both["difference_mean"])


def test_published_results_are_read_as_they_stand():
    table = lth_bench.results(ROOT / "leaderboards" / "lenet-mnist-lite")
    assert len(table) == len(set(table["key"])) and set(table["status"]) == {"done"}


def test_a_network_with_the_weights_of_a_ticket_is_the_one_that_was_measured(directory):
    context = make_context(None, "cpu")
    for method, key in keys(directory).items():
        record, ticket = lth_bench.load_record(directory, key), lth_bench.load_ticket(directory, key[:12])
        test = context.seen(context.test(record.experiment.dataset), record.experiment)
        final = lth_bench.network(record, ticket.final)
        loss, accuracy = evaluate(final, test, lambda: None)
        assert not final.training and accuracy == record.test.last.accuracy
        assert loss == pytest.approx(record.test.last.loss, rel=1e-5)
        assert {mask.dtype for mask in ticket.masks.values()} == {torch.bool}
        assert sum(int(mask.sum()) for mask in ticket.masks.values()) == record.sparsity.mask
        assert bool(ticket.channels) == (method == "l1_filter")


def test_a_network_without_weights_is_the_one_that_training_began_with(directory):
    key = keys(directory)["dense"]
    record, ticket = lth_bench.load_record(directory, key), lth_bench.load_ticket(directory, key)
    began = lth_bench.network(record).state_dict()
    assert ticket.step == 0 and all(torch.equal(value, began[name]) for name, value in ticket.start.items())


def test_what_is_not_there_is_named(directory, tmp_path):
    with pytest.raises(FileFault, match=r"none of the 3 records in .* has a key that begins with 'zz'"):
        lth_bench.load_record(directory, "zz")
    with pytest.raises(FileFault, match="no records in"):
        lth_bench.load_ticket(tmp_path, "a")
    with pytest.raises(FileFault, match="no records in"):
        lth_bench.results(tmp_path)


SCRIPTS = {
    "timm after": "import lth_bench\nassert not {'torch', 'timm', 'pandas'} & set(sys.modules)\nimport timm",
    "timm before": "import timm, lth_bench",
    "through a module": "import lth_bench.training.session\nimport timm",
    "by name": "import lth_bench\nfrom timm import create_model\nimport timm",
    "by its place": "import lth_bench, timm.models\ntimm.create_model = timm.models.create_model",
}


@pytest.mark.parametrize("order", SCRIPTS)
def test_timm_knows_the_models_of_plugins_whoever_is_imported_first(order):
    script = (
        f"import sys\n{SCRIPTS[order]}\n"
        "network = timm.create_model('lenet_300_100', img_size=(8, 8))\n"
        "assert sum(value.numel() for value in network.parameters()) == 50610\n"
        "assert type(timm.create_model('resnet10t')).__module__ == 'timm.models.resnet'\n"
        "try: timm.create_model('nonesuch')\n"
        "except RuntimeError as error: assert 'nonesuch' in str(error)\n"
        "else: raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_results_need_no_torch():
    board = ROOT / "leaderboards" / "lenet-mnist-lite"
    script = (
        f"import sys, lth_bench\nsys.modules['torch'] = sys.modules['timm'] = None\n"
        f"assert len(lth_bench.results({str(board)!r})) > 50\n"
        "import lth_bench.results.frame as frame\n"
        "assert callable(lth_bench.results) and lth_bench.results.frame is frame"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
