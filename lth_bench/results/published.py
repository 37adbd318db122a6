"""Test accuracies that papers report, to stand beside measured ones.

`published_results.csv` says of each row what it is here: `our_dataset` (`imagenet` is a folder of its images),
`our_models`, as tables name them, with semicolons between, and `our_pruner`, whose parameters may differ from our
defaults; empty where we have none. How networks were matched:

- The ResNet-18 of Frankle & Carbin has 20 layers; where its shortcuts have no weights, the note says so.
- `cifar_vgg*` have one linear layer at the end, as in the code of all that are matched; SNIP's VGG-C, -D and -like have
  three.
- The `resnet18` and `resnet50` of SynFlow and GraNet have a 3×3 stem without pooling, which timm's have only with
  `stem=cifar`.
- VGG-16 on ImageNet is left out: its sparsities count convolutions alone, which have a tenth of its weights.

A number is written with the digits of its paper, under the paper that measured it, and once: `source` says where it was
read, and `note` who quotes it. `counted` says of what weights a sparsity is, if not of all of convolution and linear
layers.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

COLUMNS = [
    "method",
    "pruner",
    "sparsity",
    "counted",
    "accuracy",
    "decimals",
    "deviation",
    "seeds",
    "epochs",
    "paper",
    "year",
    "source",
    "note",
    "citation",
]
ERROR = "test_err_pct"
METRICS = ("test_acc_pct", "top1_pct", ERROR)
"""The metrics that are of test images; what ImageNet calls its validation images is one."""
BETWEEN = "; "  # models of one row


@cache
def published(dataset: str, model: str) -> pd.DataFrame:
    """What papers report of a model on a data set, named as in our tables: a row a number, none if nothing is known.

    `method` is the paper's name and `pruner` ours, "" where we have none; `sparsity` is a share, of the weights that
    `counted` names ("": of all that we count); `accuracy` on test images is in per cent, with as many `decimals` as the
    paper has; `deviation` is the standard deviation in points, NaN where none is given, `seeds` <NA> where not;
    `epochs` is text, for some count iterations. Only numbers at one known sparsity of weights are there. Protocols
    differ from paper to paper and from ours.
    """
    rows = _matched().get(dataset)
    if rows is None:
        return _tidy(published_rows().assign(citation="").iloc[:0])
    return _tidy(rows[rows["our_models"].map(lambda models: model in models.split(BETWEEN)).astype(bool)])


@cache
def _matched() -> dict[str, pd.DataFrame]:
    """Accuracies on test images by our data sets."""
    rows = published_rows()
    rows = rows.assign(citation=cited(rows))
    return {str(name): some for name, some in rows[rows["metric"].isin(METRICS)].groupby("our_dataset") if name}


@cache
def published_rows() -> pd.DataFrame:
    """All collected numbers as text, with other metrics, other networks and ranges of sparsities."""
    with files("lth_bench.results").joinpath("published_results.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def cited(rows: pd.DataFrame) -> pd.Series[str]:
    """The papers of rows as "Frankle & Carbin 2019", with their short titles where authors and year are the same.

    A paper is "SHORT / REST OF ITS TITLE (AUTHORS)", in which all but the title may be missing.
    """
    authors = rows["paper"].str.extract(r"\(([^()]+)\)$")[0].fillna(rows["paper"])
    names = authors + " " + rows["year"].astype(str)
    several = rows["paper"].groupby(names).transform("nunique") > 1
    short = rows["paper"].str.replace(r" \([^()]+\)$", "", regex=True).str.partition(" / ")[0]
    return names + (", " + short).where(several, "")


def _tidy(rows: pd.DataFrame) -> pd.DataFrame:
    value = _numbers(rows["value"])
    table = rows.assign(
        pruner=rows["our_pruner"],
        sparsity=(_numbers(rows["sparsity_pct"]) / 100).round(6),
        accuracy=value.where(rows["metric"] != ERROR, 100 - value).round(4),
        decimals=rows["value"].map(lambda text: len(text.partition(".")[2])).astype(int),
        deviation=_numbers(rows["std"]),
        seeds=_numbers(rows["seeds"]).astype("Int64"),
        year=rows["year"].astype(int),
    )
    return table.dropna(subset=["sparsity", "accuracy"])[COLUMNS].reset_index(drop=True)


def _numbers(texts: pd.Series) -> pd.Series:
    return pd.to_numeric(texts, errors="coerce").astype(float)
