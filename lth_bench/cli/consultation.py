"""What `lth-bench doctor` examines: a model as a suite would name it, on a data set or on noise."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import TypeAdapter

from lth_bench.data.examples import Batch
from lth_bench.experiments.choices import assigned, dataset_choice, label, model_choice
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import Plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.experiments.suite import Located
from lth_bench.pruning.doctor import Findings, diagnose
from lth_bench.pruning.initial_scores import EXAMPLES, diagnostic_batch
from lth_bench.randomness import generator
from lth_bench.running.context import Context

NEUTRAL = Recipe(Duration("1ep"), 1, 0.1)
NOISE = (3, 32, 32)
CLASSES = 10


@dataclass(frozen=True)
class Question:
    """A model with arguments written NAME=VALUE, on a data set written NAME or NAME=PATH, or on noise.

    The recipe `recipe` gives the initial weights; without one they are timm's own.
    """

    model: str
    options: list[str]
    dataset: str | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class Consultation:
    """Findings on a model, and the findings that remain with the remedies, if there are any."""

    model: Choice
    images: str
    findings: Findings
    mended: Choice
    remedied: Findings | None


def consult(question: Question, plugins: Plugins, root: Path | None) -> Consultation:
    """Examines a model without and with the remedies. Raises ValueError, LookupError and DataError."""
    torch.set_num_threads(1)
    context = Context(plugins, root, torch.device("cpu"))
    chosen = model_choice(plugins, question.model, dict(assigned(text, "stem=cifar") for text in question.options))
    wanted = cast(Recipe, plugins.recipes[question.recipe]) if question.recipe else NEUTRAL
    batch, classes, images = _images(context, question.dataset)
    findings = diagnose(chosen, wanted, batch, classes)
    mended = dataclasses.replace(chosen, arguments={**chosen.arguments, **findings.remedies})
    remedied = diagnose(mended, wanted, batch, classes) if findings.remedies else None
    return Consultation(chosen, images, findings, mended, remedied)


def _images(context: Context, dataset: str | None) -> tuple[Batch, int, str]:
    """What the model sees, the number of classes, and both in words."""
    if dataset is None:
        inputs = torch.randn(EXAMPLES, *NOISE, generator=generator(0, "noise"))
        return Batch(inputs, torch.arange(EXAMPLES) % CLASSES), CLASSES, f"noise of 32×32 in {CLASSES} classes"
    entry = dataset_choice(context.plugins, *_named(dataset, context.plugins))
    data, classes = context.training(entry)[0], context.classes(entry)
    return diagnostic_batch(data), classes, f"{label(entry)}: {'×'.join(map(str, data.shape))}, {classes} classes"


def _named(text: str, plugins: Plugins) -> tuple[str, dict[str, Any]]:
    """A data set as a suite writes it, or as NAME=PATH."""
    if not text.startswith("{"):
        name, _, path = text.partition("=")
        return name, {"path": path} if path else {}
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        entry = TypeAdapter(Located).validate_python(value, context={"datasets": list(plugins.datasets)})
    except ValueError as error:
        raise ValueError(f"--dataset wants NAME, NAME=PATH or a table as in a suite, not {text!r}") from error
    return entry.name, dict(entry.arguments)
