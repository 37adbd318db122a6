"""The analysis of transfer, and the data sets made of digits."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from lth_bench.errors import Unsuitable
from lth_bench.experiments.experiment import Choice
from lth_bench.pruning.masks import kept
from lth_bench.running.standing import done
from lth_bench.storage.records import record_path
from lth_bench_plugins.digits import DIGITS
from lth_bench_plugins.split_digits import part, permuted
from lth_bench_plugins.transfer_matrix import TransferMatrix
from support.analyses import site, study_of
from support.suites import finish, pruner, write_suite

PLACES = {"digits": "digits", "permuted_digits": "permuted digits", "digits_5_9": "digits 5 to 9"}
CONTROLS = 'controls = ["random_layerwise", { name = "transfer", found_on = "digits" }]\n'


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """SNIP on three data sets, and its ticket of digits on each of them by the control `transfer`."""
    folder = tmp_path_factory.mktemp("transfer")
    pruners = pruner("dense", sparsities=[0]) + pruner("snip") + CONTROLS
    suite = write_suite(folder / "s.toml", pruners, duration="2ep", sparsities=[0.9], datasets=list(PLACES))
    finish(suite, folder / "run")
    return folder / "run"


def accuracy(directory, dataset, control):
    """The test accuracy of SNIP's control on a data set, in per cent; of SNIP itself for None."""
    (record,) = [
        record
        for _, record in done(directory)
        if (record.experiment.dataset.name, record.experiment.pruner.name) == (dataset, "snip")
        and (record.experiment.control and record.experiment.control.name) == control
    ]
    return 100 * record.test.last.accuracy


def test_halves_are_the_images_of_digits_by_class():
    for split, sizes in (("train", (701, 696)), ("test", (200, 200))):
        images, labels = DIGITS.read(split, None)
        for first, size in zip((0, 5), sizes, strict=True):
            chosen = np.isin(labels, range(first, first + 5))
            mine, classes = part(first, split, None)
            assert len(mine) == size and set(classes) == set(range(5))
            assert np.array_equal(mine, images[chosen]) and np.array_equal(classes + first, labels[chosen])


def test_permuted_digits_have_the_pixels_of_digits_in_one_other_order():
    (images, labels), (mine, classes) = (read("train", None) for read in (DIGITS.read, permuted))
    assert np.array_equal(labels, classes) and mine.shape == images.shape and mine.dtype == images.dtype
    flat, pixels = mine.reshape(-1, 64), images.reshape(-1, 64)
    for place, pixel in enumerate([45, 29, 43, 61, 34, 33, 31, 40]):
        assert np.array_equal(flat[:, place], pixels[:, pixel])
    assert np.array_equal(np.sort(flat), np.sort(pixels))


@pytest.mark.parametrize("name", ["permuted_digits", "digits_0_4", "digits_5_9"])
def test_the_sizes_of_these_data_sets_are_those_that_they_state(name, tmp_path):
    context, choice = site(tmp_path), Choice(name)
    split = context.read(choice)
    sizes = [f"{len(one):,}" for one in (split.training, split.validation, context.test(choice))]
    assert " / ".join(sizes) in split.dataset.summary


def test_tickets_and_random_masks_are_those_of_the_controls(directory):
    study = study_of(directory, "SNIP")
    rows = {row["trained"]: row for row in TransferMatrix()(study)}
    assert list(rows) == ["permuted digits", "digits 5 to 9", "digits"]
    assert {row["found"] for row in rows.values()} == {"digits"}
    assert rows["digits"]["accuracy"] == accuracy(directory, "digits", None), "the diagonal is the experiment itself"
    assert rows["digits"]["random"] == accuracy(directory, "digits", "random_layerwise")
    for name in ("permuted_digits", "digits_5_9"):
        assert rows[PLACES[name]]["accuracy"] == accuracy(directory, name, "transfer")
    assert all(row["gain"] == row["accuracy"] - row["random"] for row in rows.values())


def test_random_masks_keep_as_many_weights_in_each_layer_as_the_ticket_there(directory):
    study = study_of(directory, "SNIP")
    assert len(list(TransferMatrix()(study))) == 3
    sessions = [session for _, session in study.sessions]
    for one, other in zip(sessions[::2], sessions[1::2], strict=True):
        assert kept(one.masks) == kept(other.masks)
        assert any(bool((mask != other.masks[name]).any()) for name, mask in one.masks.items())
    totals = {session.masks["fc3.weight"].shape[0]: sum(kept(session.masks).values()) for session in sessions}
    assert totals.keys() == {10, 5} and totals[5] < totals[10], "for five classes the output layer is another one"


def test_recipes_on_one_data_set(directory, tmp_path):
    run = shutil.copytree(directory, tmp_path / "run")
    suite = write_suite(tmp_path / "slow.toml", pruner("snip"), duration="2ep", sparsities=[0.9], rate=0.01)
    text = suite.read_text().replace('recipe = "r"', 'recipe = "slow"').replace("[recipes.r]", "[recipes.slow]")
    suite.write_text(text)
    finish(suite, run)
    rows = {row["trained"]: row for row in TransferMatrix(across="recipe")(study_of(run, "SNIP"))}
    assert set(rows) == {"r", "slow"} and {row["found"] for row in rows.values()} == {"r"}
    assert rows["r"]["accuracy"] == accuracy(directory, "digits", None) > rows["slow"]["accuracy"]
    suite.write_text(text.replace('recipe = "slow"', 'recipe = "r"').replace("[recipes.slow]", "[recipes.r]"))
    finish(suite, run)
    named = [row["trained"] for row in TransferMatrix(across="recipe")(study_of(run, "SNIP"))]
    assert len(set(named)) == 2, "the same recipe under two names is one"


def test_where_it_does_not_apply_it_says_why(directory, tmp_path):
    for label, reason in (("dense", "prunes nothing"), ("SNIP, random_layerwise", "it is a control")):
        with pytest.raises(Unsuitable, match=reason):
            list(TransferMatrix()(study_of(directory, label)))
    with pytest.raises(Unsuitable, match="no experiment of its model by another recipe on its data"):
        list(TransferMatrix(across="recipe")(study_of(directory, "SNIP")))
    run = shutil.copytree(directory, tmp_path / "run")
    late = dataclasses.replace(study_of(run, "SNIP").ticket, step=1000)
    with pytest.raises(Unsuitable, match="on 'permuted digits' the ticket's weights are those of step 1000"):
        list(TransferMatrix()(study_of(run, "SNIP", ticket=late)))
    for _, record in done(directory):
        if record.experiment.dataset.name != "digits":
            record_path(run, record.key).unlink()
    with pytest.raises(Unsuitable, match="no experiment of its model on another data set"):
        list(TransferMatrix()(study_of(run, "SNIP")))


def test_the_table_has_means_over_seeds_of_each_pair_and_paired_intervals():
    told = {"method": "SNIP", "target": 0.9, "model": "m", "recipe": "r"}
    pairs = [("b", "a", 1.0), ("b", "b", 4.0), ("a", "b", 2.0), ("a", "a", 3.0)]
    rows = pd.DataFrame([
        {**told, "found": found, "trained": trained, "seed": seed, "random": 80.0, "accuracy": 80 + gain, "gain": gain}
        for found, trained, mean in pairs
        for seed, gain in enumerate((mean - 1, mean, mean + 1))
    ])  # fmt: skip
    table = TransferMatrix().table(rows)
    assert list(table[["found", "trained", "gain"]].itertuples(index=False, name=None)) == [
        *[("b", "b", 4.0), ("b", "a", 1.0), ("a", "b", 2.0), ("a", "a", 3.0)],
    ], "in the order in which tickets were found, down and across"
    assert table["half"].tolist() == pytest.approx([4.3027 / 3**0.5] * 4, rel=1e-4), "Student's t of 2 degrees"
    assert "model" not in table, "of one model there is one matrix"
    two = pd.concat([rows, rows.assign(model="n")])
    assert set(TransferMatrix().table(two)["model"]) == {"m", "n"}
