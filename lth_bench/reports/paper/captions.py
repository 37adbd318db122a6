"""Captions of tables for papers: the protocol, what marks mean, what went wrong, and versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lth_bench.experiments.recipe import Recipe
from lth_bench.reports.escaping import shortened
from lth_bench.reports.leaderboards import doubts, near_best
from lth_bench.reports.paper.cells import SHORT, elsewhere
from lth_bench.reports.paper.choices import Spread, TableChoices
from lth_bench.results.frame import BLOCK, Results

MOST = 5  # recipes that a caption names
VERSIONED = ("lth-bench", "torch", "timm")
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
SPREADS: dict[Spread, str] = {
    "ci": " ± half of Student's 95% interval",
    "sd": " ± their standard deviation",
    "none": "",
}
MEANINGS = {"diverged": "diverged", "failed": "failed", "missing": "are missing"}


def caption(results: Results, rows: list[Any], notes: list[str], marks: list[str], choices: TableChoices) -> str:
    """What a reader has to know of a table with these rows of leaderboards, with its notes and meanings of its marks.

    A short caption says what numbers and marks mean, and what casts doubt on them, but not how they were made.
    """
    doubtful = list(doubts(pd.DataFrame(rows)))
    legend = list(_legend(rows, choices))
    short = [*legend, *notes, *marks, *doubtful]
    whole = [_protocol(results, rows), *short, _versions(results)]
    return " ".join(filter(None, short if choices.caption == "short" else whole))


def where(model: str, dataset: str) -> str:
    return f"{shortened(model)} on {shortened(dataset)}"


def _protocol(results: Results, rows: list[Any]) -> str:
    """The recipe; of several, each with its networks."""
    hashes = results.frame.drop_duplicates(BLOCK).set_index(BLOCK)["board_hash"].to_dict()
    used: dict[str, list[str]] = {}
    for dataset, model, recipe in dict.fromkeys(tuple(row[name] for name in BLOCK) for row in rows):
        words = f"{shortened(recipe)}: {_recipe(results.recipes[hashes[dataset, model, recipe]])}."
        used.setdefault(words, []).append(where(model, dataset))
    if len(used) == 1:
        return f"Recipe {next(iter(used))}"
    if len(used) > MOST:
        return f"There are {len(used)} recipes; the tables by sparsity describe them."
    return " ".join(f"Recipe of {', '.join(places)}: {words}" for words, places in used.items())


def _recipe(fields: dict[str, Any]) -> str:
    """A recipe in words."""
    recipe = Recipe(**fields)
    if recipe.duration == "0it":
        return "no training"
    nesterov = "Nesterov " * recipe.nesterov
    parts = [
        OPTIMIZERS[recipe.optimizer] + (f" with {nesterov}momentum {recipe.momentum:g}" if recipe.momentum else ""),
        f"learning rate {recipe.learning_rate:g} ({_schedule(recipe)})",
        f"{_span(recipe.duration)} at batch size {recipe.batch_size}",
        f"weight decay {recipe.weight_decay:g}" if recipe.weight_decay else "",
        f"label smoothing {recipe.label_smoothing:g}" if recipe.label_smoothing else "",
        f"crops padded by {recipe.crop} pixels" if recipe.crop else "",
        "horizontal flips" if recipe.flip else "",
        f"cutout of {recipe.cutout} pixels" if recipe.cutout else "",
        "augmentation by timm" if recipe.transforms else "",
    ]
    return ", ".join(filter(None, parts))


def _schedule(recipe: Recipe) -> str:
    warmup = f" after a warm-up of {_span(recipe.warmup)}" if recipe.warmup.strip("0.itep%") else ""
    if recipe.schedule == "step":
        return f"times {recipe.factor:g} at {' and '.join(map(_span, recipe.milestones))}{warmup}"
    return f"{recipe.schedule}{warmup}"


def _span(duration: str) -> str:
    number, unit = duration.rstrip("itep%"), duration.lstrip("0123456789.")
    words = {"it": "iterations", "ep": "epochs"}
    return f"{float(number):,g}%" if unit == "%" else f"{float(number):,.6g} {words[unit]}"


def _legend(rows: list[Any], choices: TableChoices) -> Iterator[str]:
    """What the cells and marks of these rows mean."""
    yield _about_seeds([row["n"] for row in rows if row["n"]], choices.spread)
    if any(row["best"] for row in rows):
        yield "Bold: the highest mean; underlined: the second."
    if any(row["near_best"] for row in rows):
        yield f"{near_best(choices.equivalence)}."
    if recipes := sorted({shortened(row["trained_with"]) for row in rows if row["own_recipe"]}):
        more = f" and {len(recipes) - MOST} more" * (len(recipes) > MOST)
        yield f"†: trained with a recipe of its own ({', '.join(recipes[:MOST])}{more})."
    if any(row["control"] for row in rows):
        yield "‡: a control, not compared."
    if any(row["helper"] for row in rows):
        yield "§: only found tickets for others, not compared."
    if any(row["n"] and elsewhere(row["sparsity"], row["target"]) for row in rows):
        yield "Measured sparsities that differ are in brackets."
    if troubles := [status for status in SHORT if any(row[status] for row in rows)]:
        yield _about_troubles(troubles)


def _about_seeds(counts: list[int], spread: Spread) -> str:
    if not counts:
        return "No seed finished."
    low, high = min(counts), max(counts)
    if high == 1:
        return "Test images, last step, one seed (n = 1)."
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    alone = ", none at n = 1" * (low == 1 and spread != "none")
    return f"Test images, last step; means over seeds ({n}){SPREADS[spread]}{alone}."


def _about_troubles(statuses: list[str]) -> str:
    told = ", ".join(f"{SHORT[status]}: so many seeds {MEANINGS[status]}" for status in statuses)
    return f"{told}; means are over the others, and not compared."


def _versions(results: Results) -> str:
    counts = results.evidence.environment
    versions = [f"{name} {' and '.join(map(shortened, sorted(counts[name])))}" for name in VERSIONED if counts[name]]
    return f"{', '.join(versions)}." if versions else ""
