"""Types for parameters of methods; a suite with a value outside the range is refused."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Interval

Rate = Annotated[float, Interval(gt=0, lt=1)]
"""A share between 0 and 1, both excluded."""

Share = Annotated[float, Interval(ge=0, lt=1)]
"""A share from 0 to 1, 1 excluded."""

Count = Annotated[int, Ge(1)]
"""A whole number from 1."""
