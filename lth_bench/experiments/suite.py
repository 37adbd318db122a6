"""The schema of a suite file, validated strictly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    JsonValue,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import core_schema

from lth_bench.experiments.claims import ClaimEntry, Side
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.strict import Named, Strict, finite, named

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]


def _target(value: Any, sparsity: ValidatorFunctionWrapHandler) -> Any:
    return str(parsed(value)) if isinstance(value, str) else sparsity(value)


Target = Annotated[
    float | str,
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_wrap_validator_function(_target, handler.generate_schema(Sparsity))
    ),
]
"""A sparsity, or a pattern such as "2:4"."""


def _located(value: Any, info: ValidationInfo) -> Any:
    """`{ parquet = "photos", validation = 9 }`, in short, is `parquet` with the arguments `path` and `validation`.

    The first key that the context lists among the names of data sets is the name, else the first of all.
    """
    if not isinstance(value, dict) or not value or "name" in value or "arguments" in value:
        return named(value)
    names = (info.context or {}).get("datasets", ())
    name = next((key for key in value if key in names), next(iter(value)))
    others = {key: argument for key, argument in value.items() if key not in (name, "label")}
    if "path" in others:
        raise ValueError(f"the path stands there twice, as {name} and as path")
    return {"name": name, "label": value.get("label"), "arguments": {"path": value[name], **others}}


Label = Annotated[str, Field(min_length=1, max_length=80)]


class Labelled(Named):
    """A model or a data set, and what tables call it."""

    label: Label | None = None


class ModelEntry(Labelled):
    """A model; `weights` names a file that it starts from, or `pretrained` takes timm's checkpoint of that name.

    With `output_layer` "new" it starts from all of that but the output layer. `mean` and `std`, per channel and for
    pixels in [0, 1], normalise what it sees; without them a checkpoint of timm has its own, unless `normalisation` is
    "data", and other models have those of the data set.
    """

    weights: str | None = Field(default=None, min_length=1)
    pretrained: bool = False
    output_layer: Literal["new"] | None = None
    normalisation: Literal["data"] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        if self.pretrained and self.weights:
            raise ValueError("weights and pretrained both say what the model starts from; leave one out")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together; give both or none")
        if self.mean is not None and self.normalisation:
            raise ValueError("normalisation = 'data' takes the mean and std of the data set; leave it or those out")
        return self


Entry = Annotated[ModelEntry, BeforeValidator(named)]
Located = Annotated[Labelled, BeforeValidator(_located)]


class ControlEntry(Named):
    """A control; `found_on` and `found_with` name the data set and recipe of its tickets if those are others."""

    found_on: Located | None = None
    found_with: str | None = None


Control = Annotated[ControlEntry, BeforeValidator(named)]


class PrunerEntry(Named):
    """A pruner of the suite; what its entry leaves out is taken from the suite."""

    label: Label | None = None
    recipe: str | None = None
    models: list[str] | None = Field(default=None, min_length=1)
    sparsities: list[Target] | None = Field(default=None, min_length=1)
    controls: list[Control] | None = None
    after: list[str] | None = Field(default=None, min_length=1)


class Suite(Strict):
    """Experiments as a product: models × data sets × pruners × sparsities × seeds × controls.

    `after` says what follows the final mask: "nothing", "batch_norm", or the name of a recipe, each in turn. `claims`
    are about the rows that come of it, and change no experiment.
    """

    title: str
    description: str = ""
    models: list[Entry] = Field(min_length=1)
    datasets: list[Located] = Field(min_length=1)
    recipe: str
    recipes: dict[str, Annotated[dict[str, JsonValue], AfterValidator(finite)]] = Field(default_factory=dict)
    pruners: list[Annotated[PrunerEntry, BeforeValidator(named)]] = Field(min_length=1)
    sparsities: list[Target] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)
    controls: list[Control] = Field(default_factory=list)
    after: list[str] = Field(default=["nothing"], min_length=1)
    claims: list[ClaimEntry] = Field(default_factory=list)


_TABLES: dict[int | str, type[BaseModel]] = {
    "models": ModelEntry,
    "datasets": Labelled,
    "found_on": Named,
    "pruners": PrunerEntry,
    "controls": ControlEntry,
    "claims": ClaimEntry,
    "left": Side,
    "right": Side,
}


def keys(place: tuple[int | str, ...]) -> list[str]:
    """The keys that a suite may have in the table at this place."""
    tables = [_TABLES[part] for part in place if part in _TABLES]
    return list((tables[-1] if tables else Suite).model_fields)


def validated_suite(content: dict[str, Any], datasets: Iterable[str]) -> Suite:
    """A suite from its TOML; `datasets` are the names of the registered ones. Raises ValidationError."""
    return Suite.model_validate(content, context={"datasets": list(datasets)})
