"""All golden checks by family, and the cases that cannot agree."""

from __future__ import annotations

from golden import (
    calibrated,
    channels,
    criteria,
    densities,
    fan_in,
    foresight,
    magnitude,
    parametrised,
    phases,
    schedules,
    topology,
)
from golden.cases import Case, Unchecked
from lth_bench.errors import MaskError

MODULES = [
    calibrated,
    channels,
    criteria,
    densities,
    fan_in,
    foresight,
    magnitude,
    parametrised,
    phases,
    schedules,
    topology,
]
CHECKS = {family: check for module in MODULES for family, check in module.CHECKS.items()}
NOT_COMPARABLE = [difference for module in MODULES for difference in module.NOT_COMPARABLE]


def judge(case: Case) -> None:
    """Raises AssertionError where ours disagrees, or agrees though it cannot; Unchecked where nothing is compared."""
    if case.family not in CHECKS:
        raise Unchecked(f"no check here for the family {case.family!r}")
    if reason := reason_against(case):
        assert not agrees(case), f"said not to be comparable, but it agrees: {reason}"
        raise Unchecked(reason)
    CHECKS[case.family](case)


def reason_against(case: Case) -> str | None:
    differences = (known for known in NOT_COMPARABLE if known.family == case.family)
    return next((known.reason for known in differences if known.concerns(case)), None)


def agrees(case: Case) -> bool:
    try:
        CHECKS[case.family](case)
    except (AssertionError, MaskError):
        return False
    return True
