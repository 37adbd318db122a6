"""Test accuracies that papers report, to stand beside measured ones."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pandas as pd

Names = dict[str, tuple[str, ...]]

COLUMNS = [
    "method",
    "pruner",
    "sparsity",
    "accuracy",
    "deviation",
    "seeds",
    "epochs",
    "paper",
    "year",
    "source",
    "note",
]
ERROR = "test_err_pct"
METRICS = ("test_acc_pct", "top1_pct", ERROR)
"""The metrics that are of test images; what ImageNet calls its validation images is one."""

DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
"""Our data sets, and what papers call them; `imagenet` stands for a folder of its images."""

GREY: Names = {"lenet_300_100": ("LeNet-300-100",), "lenet_5": ("LeNet-5-Caffe",)}
SMALL: Names = {
    "conv_2": ("Conv-2",),
    "conv_4": ("Conv-4",),
    "conv_6": ("Conv-6",),
    # the ResNet-18 of Frankle & Carbin has 20 layers; where shortcuts have no weights, the note says so
    "cifar_resnet20": ("ResNet-20", "ResNet-18 (=ResNet-20)"),
    "cifar_resnet32": ("ResNet-32",),
    "cifar_resnet56": ("ResNet-56",),
    # one linear layer at the end, as in the code of all that are quoted; SNIP's VGG-C, -D and -like have three
    "cifar_vgg11": ("vgg11_bn",),
    "cifar_vgg16": ("VGG-16", "vgg16_bn"),
    "cifar_vgg19": ("VGG-19",),
    "preresnet_101": ("PreResNet-101",),
    "wrn_16_8": ("WRN-16-8",),
    "wrn_22_2": ("WRN-22-2",),
    # SynFlow's and GraNet's have a 3×3 stem without pooling, which timm's have only with these arguments
    "resnet18 (stem=cifar)": ("resnet18",),
    "resnet18 (stem=cifar, zero_init_last=False)": ("resnet18",),
    "resnet50 (stem=cifar)": ("ResNet-50",),
    "resnet50 (stem=cifar, zero_init_last=False)": ("ResNet-50",),
}
LARGE: Names = {
    # VGG-16 is left out: its sparsities count convolutions alone, which have a tenth of its weights
    "resnet18": ("ResNet-18",),
    "resnet50": ("ResNet-50",),
    "resnet101": ("ResNet-101",),
    "wide_resnet50_2": ("Wide ResNet-50",),
}
NETWORKS: dict[str, Names] = {"mnist": GREY, "cifar10": SMALL, "cifar100": SMALL, "imagenet": LARGE}
"""By data set, our models as tables name them, and what papers call the same network."""

RESET = "magnitude prune + late reset to epoch"
PRUNERS: Names = {
    "dense": ("dense", "dense lr 0.1", "dense ref"),
    "random": ("Random",),
    "magnitude": (
        "Magnitude at init",
        "unstructured magnitude, fine-tune",
        *(f"{RESET} {epoch}" for epoch in range(0, 11, 2)),
    ),
    "imp": (
        "IMP lr 0.03 warmup 20K",
        "LT",
        "LTR",
        "ticket, optimizers: SGD after SGD",
        "ticket, optimizers: Adam after Adam",
    ),
    "snip": ("SNIP",),
    "grasp": ("GraSP",),
    "synflow": ("SynFlow",),
    "edge_popup": ("edge-popup Kaiming normal", "edge-popup signed Kaiming constant"),
    "static": ("Static", "Static ERK", "Static 2x ERK"),
    "set": ("SET", "SET ERK"),
    "rigl": (
        "RigL",
        "RigL ERK",
        "RigL 2x",
        "RigL 2x ERK",
        "RigL 1x uniform",
        "RigL 1x Uniform",
        "RigL 5x Uniform",
        *(f"RigL {times}x ERK" for times in (1, 5, 10, 40, 100)),
        "RigL-ITOP",
        "RigL-ITOP 2x",
    ),
    "gmp": ("GMP", "GMP magnitude", "GMP magnitude v2 (non-uniform, longer)", "Pruning", "Pruning (GMP)"),
    "granet": ("GraNet s_i=0", "GraNet s_i=0.5"),
    "variational_dropout": ("Sparse VD (SVD)", "Variational dropout"),
}
"""Our pruners, and what papers call them; parameters may differ from our defaults."""


def published(dataset: str, model: str) -> pd.DataFrame:
    """What papers report of a model on a data set, named as in our tables: a row a number, none if nothing is known.

    `method` is the paper's name and `pruner` ours, "" where we have none; `sparsity` is a share, `accuracy` on test
    images in per cent, `deviation` in points and NaN where none is given, `seeds` <NA> where not; `epochs` is text, for
    some count iterations. Only numbers at one known sparsity of weights are there. Protocols differ from paper to paper
    and from ours.
    """
    rows = published_rows()
    networks = NETWORKS.get(dataset, {}).get(model, ())
    named = (rows["dataset"] == DATASETS.get(dataset)) & rows["model"].isin(networks)
    return _tidy(rows[named & rows["metric"].isin(METRICS)])


def published_rows() -> pd.DataFrame:
    """All that was collected, as text: also other metrics, other networks and ranges of sparsities."""
    with files("lth_bench.results").joinpath("published_results.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def citation(row: Any) -> str:
    """A row's paper as "Frankle & Carbin 2019"; its `paper` ends in the authors, in brackets."""
    found = re.search(r"\(([^()]+)\)$", row.paper)
    return f"{found[1] if found else row.paper} {row.year}"


def _tidy(rows: pd.DataFrame) -> pd.DataFrame:
    value = _numbers(rows["value"])
    pruners = {method: pruner for pruner, methods in PRUNERS.items() for method in methods}
    table = rows.assign(
        pruner=rows["method"].map(lambda method: pruners.get(method, "")).astype(str),
        sparsity=(_numbers(rows["sparsity_pct"]) / 100).round(6),
        accuracy=value.where(rows["metric"] != ERROR, 100 - value).round(4),
        deviation=_numbers(rows["std"]),
        seeds=_numbers(rows["seeds"]).astype("Int64"),
        year=rows["year"].astype(int),
    )
    return table.dropna(subset=["sparsity", "accuracy"])[COLUMNS].reset_index(drop=True)


def _numbers(texts: pd.Series) -> pd.Series:
    return pd.to_numeric(texts, errors="coerce").astype(float)
