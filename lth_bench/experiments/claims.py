"""Claims of a suite: what is said of its rows, and whether the suite has such rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from lth_bench.experiments.choices import choice
from lth_bench.experiments.plugins import Plugins
from lth_bench.experiments.spelling import known_names, suggestion
from lth_bench.experiments.strict import Named, Strict, named

METRICS = {
    **dict.fromkeys(
        ("accuracy", "best_validation_accuracy", "early_stop_accuracy", "top5_accuracy", "difference"), "points"
    ),
    "calibration_error": "points",
    **dict.fromkeys(("early_stop_step", "last_step", "steps"), "steps"),
    **dict.fromkeys(("sparsity", "effective_sparsity", "inference_share", "left_out"), "of 1"),
    **dict.fromkeys(("collapsed_layers",), "layers"),
    **dict.fromkeys(("training_flops", "training_flops_dense", "inference_flops"), "FLOPs"),
    **dict.fromkeys(("bytes_dense", "bytes_bitmap", "bytes_csr", "peak_memory"), "bytes"),
    **dict.fromkeys(("latency", "seconds"), "seconds"),
    **dict.fromkeys(("parameters", "kept_zeros"), "weights"),
    "loss": "nats",
    "theoretical_speedup": "×",
}
"""What a claim may be about beside the numbers of analyses, with its unit; accuracies are in per cent."""
WITHOUT_AMOUNT = (">", "<")

Number = Annotated[float, Field(allow_inf_nan=False)]
Amount = Number | Annotated[str, StringConstraints(pattern=r"^-?\d+(\.\d+)?%$")]
"""A number in units of the metric, or a share of the right side such as "38%"."""
Text = Annotated[str, Field(min_length=1, max_length=400)]


class Published(Strict):
    """A published number; `spread` is its standard deviation over `seeds`, or without them how far it may be off."""

    value: Number
    spread: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seeds: int | None = Field(default=None, ge=2)


class Side(Strict):
    """A row of the tables, and the number of it that counts; what is left out is taken from the claim.

    `method` is its name in tables, or with `control` that of the method whose control it is.
    """

    method: str
    control: str | None = None
    sparsity: float | None = Field(default=None, ge=0, lt=1)
    model: str | None = None
    dataset: str | None = None
    metric: str | None = None
    analysis: Annotated[Named, BeforeValidator(named)] | None = None
    where: dict[str, str | int | float] | None = None


def _side(value: Any) -> Any:
    return {"value": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class ClaimEntry(Strict):
    """Two sides, the number that is compared, and the relation that is said to hold between them.

    Without a `model` or a `dataset`, the claim is judged on each that the suite has both rows on.
    """

    text: Text
    source: str = ""
    metric: str = "accuracy"
    analysis: Annotated[Named, BeforeValidator(named)] | None = None
    where: dict[str, str | int | float] = Field(default_factory=dict)
    model: str | None = None
    dataset: str | None = None
    left: Side
    relation: Literal[">", "<", "≈", "at least by", "at most by"]
    by: Amount | None = None
    right: Annotated[Side | Published, BeforeValidator(_side)]
    level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _with_amount(self) -> Self:
        if self.relation in WITHOUT_AMOUNT and self.by is not None:
            raise ValueError(f"relation {self.relation!r} has no amount; leave `by` out, or say 'at least by'")
        if self.relation not in WITHOUT_AMOUNT and self.by is None:
            raise ValueError(f"relation {self.relation!r} wants an amount, such as by = 0.5 or by = '5%'")
        if self.relation == "≈" and self.by is not None and self.amount < 0:
            raise ValueError(f"a tolerance is not below zero, unlike by = {self.by!r}")
        return self

    @property
    def amount(self) -> float:
        """The amount, in units of the metric or as a share of the right side."""
        return float(self.by.removesuffix("%")) / 100 if isinstance(self.by, str) else float(self.by or 0)

    @property
    def is_relative(self) -> bool:
        """Whether the amount is a share of the right side."""
        return isinstance(self.by, str)

    def subject(self, side: Side) -> Side:
        """A side with what it leaves to the claim."""
        taken = {name: getattr(self, name) for name in ("metric", "analysis", "where", "model", "dataset")}
        own = {name: value for name in taken if (value := getattr(side, name)) is not None}
        return side.model_copy(update={**taken, **own})

    @property
    def subjects(self) -> dict[str, Side]:
        """The sides that are rows, by name."""
        sides = {"left": self.left, "right": self.right}
        return {name: self.subject(side) for name, side in sides.items() if isinstance(side, Side)}


class ClaimedRow(Protocol):
    """What a claim needs to know of a row of the suite."""

    @property
    def label(self) -> str: ...
    @property
    def pruner_label(self) -> str: ...
    @property
    def sparsity(self) -> float: ...
    @property
    def control_name(self) -> str: ...


@dataclass(frozen=True)
class Rows:
    """What a suite has rows of; models and data sets each with all names that they go by."""

    rows: Sequence[ClaimedRow]
    models: Sequence[str]
    datasets: Sequence[str]


def faults(claims: Iterable[ClaimEntry], suite: Rows, plugins: Plugins) -> Iterator[str]:
    """What is wrong with claims: sentences, each with its place."""
    for number, claim in enumerate(claims):
        for name, subject in claim.subjects.items():
            place = f"claims[{number}].{name}"
            yield from _row_faults(place, subject, suite)
            yield from _metric_faults(f"claims[{number}]", subject, plugins)


def _row_faults(place: str, subject: Side, suite: Rows) -> Iterator[str]:
    for kind, names in (("model", suite.models), ("dataset", suite.datasets)):
        if (given := getattr(subject, kind)) is not None and given not in names:
            yield f"{place}.{kind}: {given!r} is not a {kind} of this suite; {known_names(given, dict.fromkeys(names))}"
    rows = [row for row in suite.rows if _is_named(row.label, row.pruner_label, row.control_name, subject)]
    if not rows:
        labels = dict.fromkeys(row.label for row in suite.rows)
        asked = subject.method + (f" with the control {subject.control}" if subject.control else "")
        yield f"{place}: no row {asked!r} in this suite; {suggestion(asked, labels)}there are: {'; '.join(labels)}"
        return
    sparsities = sorted({row.sparsity for row in rows})
    there = ", ".join(f"{sparsity:g}" for sparsity in sparsities)
    if subject.sparsity is None and len(sparsities) > 1:
        yield f"{place}.sparsity: {rows[0].label!r} has several sparsities; choose one of {there}"
    if subject.sparsity is not None and subject.sparsity not in sparsities:
        yield f"{place}.sparsity: {rows[0].label!r} is not asked for at {subject.sparsity:g}, but at {there}"


def _is_named(label: str, method: str, control: str, subject: Side) -> bool:
    """Whether a row is the one that a claim names, by its own name, or by its method's and its control's."""
    return subject.method == method and subject.control == control if subject.control else subject.method == label


def _metric_faults(place: str, subject: Side, plugins: Plugins) -> Iterator[str]:
    if subject.analysis is None:
        if subject.metric not in METRICS:
            yield f"{place}.metric: no number {subject.metric!r}; {known_names(str(subject.metric), METRICS)}"
        if subject.where:
            yield f"{place}.where: it chooses among the rows of an analysis; name one, or leave it out"
        return
    try:
        choice(plugins.analyses, subject.analysis.name, dict(subject.analysis.arguments))
    except (LookupError, ValueError) as error:
        yield f"{place}.analysis: {error}"
        return
    columns = getattr(plugins.analyses[subject.analysis.name], "columns", {})
    if subject.metric in METRICS and subject.metric not in columns:
        yield f"{place}.metric: {subject.analysis.name!r} finds no {subject.metric!r}, but {', '.join(columns)}"


def unit(subject: Side) -> str:
    """The unit of what a side names; "" for the numbers of analyses."""
    return "" if subject.analysis else METRICS.get(str(subject.metric), "")
