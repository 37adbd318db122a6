"""The order of examples, in memory and read as needed; suites on folders from end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lth_bench.data.batches import BatchOrder
from lth_bench.errors import SuiteError
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight
from lth_bench.running.run import run
from lth_bench.running.worker import make_context
from lth_bench.storage.record import identity
from lth_bench.storage.records import write_record
from lth_bench.storage.store import Store
from support.documents import read_documents
from support.networks import recipe

PLUGINS = load_plugins()
CLASSES = ("a", "b", "c")
SUITE = """
title = "t"
models = [{ name = "cifar_resnet20", arguments = { width = 0.25 } }]
datasets = [{ name = "images", arguments = { path = "set", size = 12, validation = 4 } }]
seeds = [0]
sparsities = [0.5]
recipe = "r"
pruners = [{ name = "snip", arguments = { examples = 16 } }]

[recipes.r]
duration = "3it"
batch_size = 8
learning_rate = 0.01
transforms = { scale = [0.5, 1.0], hflip = 0.5 }
"""


@pytest.fixture
def root(tmp_path):
    """Twelve training and four test images of 12×12 for each of three classes; those of a class look alike."""
    for split, count in (("train", 12), ("val", 4)):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng((label, i, count)).integers(60 * label, 60 * label + 90, (12, 12, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}.png")
    return tmp_path


def streams(root, seed=0, **changes):
    """The training batches of one data set, in memory and read as needed."""
    site = Context(PLUGINS, root, torch.device("cpu"))
    options = recipe(batch_size=8, **changes)
    entries = [{"path": "set", "validation": 4}, {"path": "set", "validation": 4, "size": 12}]
    return [BatchOrder(site.training(Choice("images", entry))[0], options, seed) for entry in entries]


def test_the_order_of_examples_is_the_same_in_memory_and_read_as_needed(root):
    memory, needed = streams(root, transforms={"no_aug": True})
    other = streams(root, seed=1)[0]
    for step in range(9):
        one, two = memory.batch(step), needed.batch(step)
        assert torch.equal(one.labels, two.labels)
        torch.testing.assert_close(one.inputs, two.inputs, rtol=0, atol=1e-5)
    assert any(not torch.equal(memory.batch(step).labels, other.batch(step).labels) for step in range(4))


@pytest.mark.parametrize("kind", [0, 1], ids=["in memory", "as needed"])
def test_stopping_anywhere_and_going_on_gives_the_same_next_batch(root, kind):
    changes = {"transforms": {"scale": [0.3, 1.0], "hflip": 0.5}} if kind else {"crop": 2, "flip": True, "cutout": 3}
    whole = streams(root, **changes)[kind]
    batches = [whole.batch(step) for step in range(9)]
    assert not torch.equal(batches[0].inputs, batches[4].inputs)
    for step in (1, 3, 4, 6, 8):  # within, at the end and at the start of an epoch of four batches
        again = streams(root, **changes)[kind]
        for later in range(step, 9):
            assert all(torch.equal(new, old) for new, old in zip(again.batch(later), batches[later], strict=True))


def record(root, out="here"):
    """The record of the suite's experiment, run in this process with the store of `root`."""
    name, content = read_suite(str(root / "suite.toml"), PLUGINS)
    (planned,) = plan(content, PLUGINS)
    write_record(root / out, run(identity(name, planned), root / out, make_context(root, "cpu", Store(root / "store"))))
    return read_documents(root / out)[0]


def test_a_suite_on_a_folder_gives_the_same_record_with_and_without_loaders(root, command):
    (root / "suite.toml").write_text(SUITE)
    done = command("run", root / "suite.toml", "--data", root, "--out", root / "out", "--loaders", 2, "--no-report")
    assert done.returncode == 0, done.stderr
    (one,), two = read_documents(root / "out"), record(root)
    assert one["status"] == "done" and one["unfit"] == []
    own = ("timing", "checksum")
    assert {k: v for k, v in one.items() if k not in own} == {k: v for k, v in two.items() if k not in own}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("scale = [0.5, 1.0]", "zoom = 3"), "recipes: 'images': transforms: timm takes no such arguments"),
        (("transforms = { scale", "crop = 2\ntransforms = { scale"), "recipes: 'images': crop: for images in memory"),
        ((", size = 12", ""), "recipes: 'images': transforms are for images that are not held in memory"),
        (('"set"', '"nowhere"'), "the train images of "),
        (("validation = 4", "validation = 36"), "images: of 36 training images, 36 are to be held out for validation"),
        (("validation = 4", "validation = 0"), "datasets[0].arguments.validation: "),
        (("scale = [0.5, 1.0]", 're_prob = 0.5, re_count = "x"'), "transforms: timm takes no such arguments"),
    ],
)
def test_recipes_and_data_that_do_not_fit_are_told(root, change, words):
    (root / "suite.toml").write_text(SUITE.replace(*change))
    assert words in "\n".join(faults(root))


def faults(root):
    """What is found wrong with the suite before anything is started."""
    try:
        _, content = read_suite(str(root / "suite.toml"), PLUGINS)
        planned = plan(content, PLUGINS)
    except SuiteError as error:
        return error.faults
    return preflight([item.experiment for item in planned], Context(PLUGINS, root, torch.device("cpu")))


def test_a_damaged_image_fails_its_experiment_with_its_name(root):
    (root / "suite.toml").write_text(SUITE)
    for path in (root / "set" / "train" / "b").glob("*.png"):
        path.write_bytes(path.read_bytes()[:-30])
    failed = record(root)
    assert failed["status"] == "failed" and ".png is damaged" in failed["error"]["message"]


def test_test_images_of_another_size_are_refused(root):
    for path in (root / "set" / "val").rglob("*.png"):
        Image.open(path).resize((10, 10)).save(path)
    (root / "suite.toml").write_text(SUITE.replace(", size = 12", "").replace("transforms", "# transforms"))
    assert "images: training images are 3 by 12 by 12, test images 3 by 10 by 10" in "\n".join(faults(root))


def test_what_was_trained_on_files_that_changed_is_not_looked_up(root):
    (root / "suite.toml").write_text(SUITE)
    one, again = record(root, "one"), record(root, "again")
    for path in (root / "set").rglob("*.png"):
        path.write_bytes(path.read_bytes())
    two = record(root, "two")
    assert one["data"] == two["data"]
    assert [made["timing"]["steps_computed"] for made in (one, again, two)] == [3, 0, 3]


def test_a_small_data_set_is_told_by_the_doctor_too(root, command):
    short = command("doctor", "resnet10t", "--dataset", "images=set", "--data", root)
    assert short.returncode == 2 and "of 36 training images, 5000 are to be held out" in short.stderr
    table = '{ name = "images", arguments = { path = "set", size = 12, validation = 4 } }'
    long = command("doctor", "resnet10t", "--dataset", table, "--data", root)
    assert long.returncode == 1 and "3×12×12, 3 classes" in long.stdout
