"""The schema of a suite file, validated strictly."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _finite(arguments: dict[str, Any]) -> dict[str, Any]:
    json.dumps(arguments, allow_nan=False)
    return arguments


class Named(Strict):
    """A name with arguments; a bare string is a name without arguments."""

    name: str
    arguments: Annotated[dict[str, JsonValue], AfterValidator(_finite)] = {}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _located(value: Any) -> Any:
    """`{ parquet = "photos" }` is short for the data set `parquet` with the argument `path = "photos"`."""
    if isinstance(value, dict) and len(value) == 1 and "name" not in value:
        name, path = next(iter(value.items()))
        return {"name": name, "arguments": {"path": path}}
    return _named(value)


Entry = Annotated[Named, BeforeValidator(_named)]
Located = Annotated[Named, BeforeValidator(_located)]


class ControlEntry(Named):
    """A control; `found_on` and `found_with` name the data set and recipe of its tickets if those are others."""

    found_on: Located | None = None
    found_with: str | None = None


Control = Annotated[ControlEntry, BeforeValidator(_named)]


class PrunerEntry(Named):
    """A pruner of the suite; what its entry leaves out is taken from the suite."""

    label: str | None = Field(default=None, min_length=1, max_length=80)
    recipe: str | None = None
    models: list[str] | None = Field(default=None, min_length=1)
    sparsities: list[Sparsity] | None = Field(default=None, min_length=1)
    controls: list[Control] | None = None


class Suite(Strict):
    """Experiments as a product: models × data sets × pruners × sparsities × seeds × controls."""

    title: str
    description: str = ""
    models: list[Entry] = Field(min_length=1)
    datasets: list[Located] = Field(min_length=1)
    recipe: str
    recipes: dict[str, Annotated[dict[str, JsonValue], AfterValidator(_finite)]] = {}
    pruners: list[Annotated[PrunerEntry, BeforeValidator(_named)]] = Field(min_length=1)
    sparsities: list[Sparsity] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)
    controls: list[Control] = []
