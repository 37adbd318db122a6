"""Scores, masks and schedules against those that the methods' official code computed, see tests/golden/README.md.

LTH_BENCH_GOLDEN=DIR runs every case found in another folder of the same format.
"""

from __future__ import annotations

import re

import pytest

from golden import dynamic, first, foresight, gates, structured
from golden.cases import cases
from lth_bench.errors import MaskError

MODULES = [dynamic, first, foresight, gates, structured]
CHECKS = {family: check for module in MODULES for family, check in module.CHECKS.items()}
NOT_COMPARABLE = {place: reason for module in MODULES for place, reason in module.NOT_COMPARABLE.items()}


def reason_against(case):
    for (stem, variant), reason in NOT_COMPARABLE.items():
        if case.path.stem == stem and re.fullmatch(variant, case.variant):
            return reason
    return None


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.path.stem}-{case.variant}")
def test_the_official_code_agrees(case):
    check, reason = CHECKS[case.family], reason_against(case)
    if reason is None:
        check(case)
        return
    with pytest.raises((AssertionError, MaskError)):
        check(case)
    pytest.skip(reason)


def test_there_are_golden_cases():
    assert {case.family for case in cases()} >= {"snip", "magnitude"}
