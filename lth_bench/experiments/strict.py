"""What all tables of a suite file have in common: strict fields, and names with arguments."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue


class Strict(BaseModel):
    """A table with exactly these fields, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def finite(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments without NaN and infinity. Raises ValueError."""
    json.dumps(arguments, allow_nan=False)
    return arguments


class Named(Strict):
    """A name with arguments; a bare string is a name without arguments."""

    name: str
    arguments: Annotated[dict[str, JsonValue], AfterValidator(finite)] = {}


def named(value: Any) -> Any:
    """A bare string as the table that it is short for."""
    return {"name": value} if isinstance(value, str) else value
