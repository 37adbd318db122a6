"""Scores, masks and schedules against those that the methods' official code computed, see README.md.

LTH_BENCH_GOLDEN=DIR runs every case of another folder of the same format.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golden.cases import FolderFault, read_cases
from golden.checks import CHECKS, Unchecked, judge

FOLDER = Path(__file__).parent


def cases_of(folder):
    try:
        return read_cases(folder)
    except FolderFault as fault:
        sentence = str(fault)
    return pytest.fail(sentence, pytrace=False)


CASES = cases_of(Path(os.environ.get("LTH_BENCH_GOLDEN", FOLDER)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_official_code_agrees(case):
    try:
        judge(case)
    except Unchecked as reason:
        pytest.skip(str(reason))


def test_every_check_has_a_golden_case():
    assert {case.family for case in read_cases(FOLDER)} == CHECKS.keys()
