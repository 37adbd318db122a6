"""Published numbers: the table in the package, and how it is read."""

from __future__ import annotations

import re
from importlib.resources import files

import pandas as pd
import pytest
import timm

from lth_bench.experiments.plugins import load_plugins
from lth_bench.results.published import BETWEEN, COLUMNS, METRICS, cited, published, published_rows

TABLE = ["paper", "year", "method", "model", "dataset", "sparsity_pct", "counted", "metric", "value"]
TABLE += ["std", "seeds", "epochs", "source", "note", "our_dataset", "our_models", "our_pruner"]
KNOWN = {
    *METRICS,
    "val_acc_pct",
    "best_test_acc_gain_pp",
    "test_acc_gain_vs_dense_pp",
    "max_test_acc_gain_at_iter50K_pp",
    "acc_gain_vs_random_reinit_pp",
    "test_acc_higher_than_dense",
    "matches_dense",
    "within_1pp_of_dense",
    "no_better_than_reinit",
    "early_stop_earlier_than_dense",
    "early_stop_iter_reduction_pct",
    "early_stop_speedup_x",
    "best_early_stop_speedup_x",
    "speedup_vs_random_reinit_x",
    "P_m_where_ticket_acc_drops_below_dense",
    "P_m_where_reinit_acc_drops_below_dense",
    "max_matching_sparsity_pct",
    "rewind_iteration_where_stable",
    "rewind_iteration_where_stable_and_matching",
    "rewind_epoch_where_stable",
    "rewind_epoch_where_stable_and_matching",
}
NUMBER = r"\d+(\.\d+)?"
WHOLE = {
    "paper": r".+ \([^()]+\)",
    "year": r"20\d\d",
    "method": r".*[A-Za-z].*",
    "model": r"[A-Za-z].*[^?]",
    "dataset": r"MNIST|CIFAR-100?|CIFAR-10b \(half\)|Tiny-ImageNet|ImageNet",
    "sparsity_pct": rf"({NUMBER}(-{NUMBER})?)?",
    "counted": r"(convolutions)?",
    "metric": "|".join(sorted(KNOWN)),
    "value": rf"{NUMBER}|yes|no",
    "std": rf"({NUMBER})?",
    "seeds": r"([1-9]\d*)?",
    "epochs": r"(~?\d+K? ?(iterations|steps)?( batch \d+)?)?",
    "source": r".+",
    "note": r".*",
    "our_dataset": r"(mnist|cifar100?|imagenet)?",
    "our_models": r"([a-z]\w+( \([^()]+\))?(; |$))*",
    "our_pruner": r"\w*",
}
MAPPED = sorted(
    {
        (row.our_dataset, model)
        for row in published_rows().itertuples()
        for model in filter(None, row.our_models.split(BETWEEN))
    }
)


def one(table, **wanted):
    """The only row with these values."""
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1, found
    return found.iloc[0]


def test_the_table_is_in_the_package():
    assert files("lth_bench.results").joinpath("published_results.csv").is_file()
    assert list(published_rows().columns) == TABLE and list(WHOLE) == TABLE


@pytest.mark.parametrize("column", WHOLE)
def test_every_row_has_what_its_column_says(column):
    values = published_rows()[column]
    assert [value for value in set(values) if not re.fullmatch(WHOLE[column], value)] == []


def test_percentages_are_percentages_and_no_row_is_there_twice():
    rows = published_rows()
    shares = rows.loc[rows["metric"].isin([*METRICS, "val_acc_pct"]), "value"].astype(float)
    sparsities = pd.to_numeric(rows["sparsity_pct"], errors="coerce").dropna()
    assert shares.between(0, 100).all() and sparsities.between(0, 100, inclusive="left").all()
    assert not rows.duplicated().any()


@pytest.mark.parametrize(
    ("place", "wanted", "accuracy", "deviation"),
    [
        # GraSP, table 2
        (("cifar10", "cifar_vgg19"), {"method": "SNIP", "sparsity": 0.98, "year": 2020}, 92.05, 0.28),
        (("cifar10", "cifar_vgg19"), {"method": "LT", "sparsity": 0.95}, 92.92, None),
        (("cifar100", "cifar_vgg19"), {"method": "GraSP", "sparsity": 0.9}, 71.95, 0.18),
        # SNIP, tables 1 and 2: errors of 2.4, 1.1 and 6.63 %
        (("mnist", "lenet_300_100"), {"method": "SNIP", "sparsity": 0.98}, 97.6, None),
        (("mnist", "lenet_5"), {"method": "SNIP", "sparsity": 0.99}, 98.9, None),
        (("cifar10", "wrn_16_8"), {"pruner": "snip", "sparsity": 0.95}, 93.37, None),
        # RigL, table in its README; figure 4 for the wide network
        (("imagenet", "resnet50"), {"method": "RigL 1x ERK", "sparsity": 0.8}, 75.12, None),
        (("imagenet", "resnet50"), {"method": "RigL 5x Uniform", "sparsity": 0.9}, 75.73, None),
        (("cifar10", "wrn_22_2"), {"method": "Static ERK", "sparsity": 0.95}, 89.0, None),
        (("cifar10", "cifar_resnet20"), {"pruner": "imp", "sparsity": 0.729}, 90.5, None),
        (("cifar10", "cifar_resnet32"), {"pruner": "dense", "year": 2016}, 92.49, None),
    ],
)
def test_numbers_are_those_of_the_papers(place, wanted, accuracy, deviation):
    row = one(published(*place), **wanted)
    assert row["accuracy"] == accuracy
    assert row["deviation"] == deviation or (deviation is None and pd.isna(row["deviation"]))


@pytest.mark.parametrize(("dataset", "model"), MAPPED)
def test_a_frame_is_tidy(dataset, model):
    table = published(dataset, model)
    assert list(table.columns) == COLUMNS and list(table.index) == list(range(len(table)))
    assert table["sparsity"].between(0, 1, inclusive="left").all() and table["accuracy"].between(0, 100).all()
    assert table[["sparsity", "accuracy", "deviation"]].dtypes.eq(float).all() and table["seeds"].dtype == "Int64"
    assert table.loc[table["pruner"] == "dense", "sparsity"].eq(0).all()


def test_seeds_are_numbers_where_they_are_known():
    grasp = one(published("cifar100", "cifar_vgg11"), method="GraSP", sparsity=0.9)
    assert grasp["seeds"] == 3 and grasp["epochs"] == "160"
    assert pd.isna(one(published("mnist", "lenet_5"), pruner="dense")["seeds"])


def test_ranges_unstated_sparsities_and_validation_accuracies_are_left_out():
    assert set(published("cifar10", "cifar_resnet20")["method"]) == {"dense", "dense lr 0.1", "IMP lr 0.03 warmup 20K"}
    assert not published("imagenet", "resnet50")["method"].isin(["static_sparse", "L0 regularisation"]).any()
    assert published("imagenet", "resnet18")["method"].tolist() == ["dense"]
    assert published("cifar10", "conv_4").empty


@pytest.mark.parametrize("place", [("mnist", "mlp"), ("digits", "lenet_300_100"), ("cifar10", "resnet18")])
def test_of_what_is_not_known_there_is_an_empty_frame(place):
    table = published(*place)
    assert table.empty and table.dtypes.equals(published("mnist", "lenet_5").dtypes)


def test_models_data_sets_and_pruners_are_registered():
    plugins, rows = load_plugins(), published_rows()
    names = {model.partition(" (")[0] for _, model in MAPPED}
    assert {name for name in names if name not in plugins.models.items and not timm.is_model(name)} == set()
    assert set(rows["our_dataset"]) - {"", "imagenet"} <= set(plugins.datasets.items)
    assert set(rows["our_pruner"]) - {""} <= set(plugins.pruners.items)


@pytest.mark.parametrize(("theirs", "ours"), [(["method"], "our_pruner"), (["model", "dataset"], "our_models")])
def test_a_name_in_papers_is_one_thing_here(theirs, ours):
    assert published_rows().groupby(theirs)[ours].nunique().max() == 1


def test_papers_are_cited_by_authors_and_year():
    assert one(published("cifar10", "cifar_resnet20"), pruner="imp")["citation"] == "Frankle & Carbin 2019"
    assert published("cifar10", "wrn_22_2")["citation"][0] == "Evci et al. 2020"
    papers = ["A Title", "One / and More (Du et al.)", "Two (Du et al.)"]
    assert list(cited(pd.DataFrame({"paper": papers, "year": 2020}))) == [
        "A Title 2020",
        "Du et al. 2020, One",
        "Du et al. 2020, Two",
    ]


def test_two_papers_of_the_same_authors_and_year_are_told_apart():
    papers = published_rows().assign(citation=lambda rows: cited(rows)).groupby("citation")["paper"].nunique()
    assert papers.max() == 1 and {"Liu et al. 2021, GraNet", "Liu et al. 2021, ITOP"} <= set(papers.index)


@pytest.mark.parametrize(
    ("place", "method", "sparsity", "paper"),
    [
        (("mnist", "lenet_300_100"), "LWC", 0.917, "Han et al. 2015"),
        (("mnist", "lenet_300_100"), "DNS", 0.982, "Guo et al. 2016"),
        (("mnist", "lenet_300_100"), "LC", 0.99, "Carreira-Perpiñán & Idelbayev 2018"),
        (("cifar10", "cifar_vgg19"), "SET", 0.9, "Wang et al. 2020"),
        (("imagenet", "resnet50"), "RigL", 0.8, "Evci et al. 2020"),
        (("imagenet", "resnet50"), "SET", 0.9, "Evci et al. 2020"),
        (("imagenet", "resnet50"), "MEST", 0.8, "Yuan et al. 2021"),
    ],
)
def test_a_number_that_others_quote_stands_once_and_is_of_the_paper_that_measured_it(place, method, sparsity, paper):
    assert one(published(*place), method=method, sparsity=sparsity)["citation"] == paper


def test_no_number_of_a_method_is_there_twice():
    rows = published_rows()
    number = ["model", "dataset", "method", "sparsity_pct", "metric", "value"]
    told = rows[rows["metric"].isin(METRICS) & (rows["std"] != "")]
    assert not told.duplicated(number).any()


def test_numbers_keep_the_digits_of_their_papers():
    snip = one(published("mnist", "lenet_300_100"), method="SNIP", sparsity=0.95)
    assert (snip["accuracy"], snip["decimals"]) == (98.4, 1)
    assert one(published("cifar10", "cifar_vgg19"), method="GraSP", sparsity=0.9)["decimals"] == 2, "93.30"


def test_sparsities_of_convolutions_alone_are_marked():
    rows = published("imagenet", "resnet50")
    marked = rows[rows["counted"] == "convolutions"]
    assert set(marked["citation"]) == {"Liu et al. 2019"} and len(marked) == 6
