"""What another run of an experiment says of its record."""

from __future__ import annotations

import pytest
from msgspec import UNSET, structs

from lth_bench.results.reruns import compared, tolerance
from lth_bench.storage.answers import Answers
from lth_bench.storage.record import RecordedError, failed
from lth_bench.storage.records import read_records
from support.places import ROOT


@pytest.fixture(scope="module")
def record():
    return next(one for one in read_records(ROOT / "leaderboards" / "quickstart") if one.test)


def answering(record, right, images=1000, **environment):
    """The record with another last accuracy, in another environment."""
    last = structs.replace(record.test.last, accuracy=right / images)
    test = structs.replace(record.test, last=last, answers=Answers.of([place < right for place in range(images)]))
    return structs.replace(record, test=test, environment=structs.replace(record.environment, **environment))


def test_the_same_bits_are_the_same_whatever_took_how_long_where(record):
    again = structs.replace(record, timing=structs.replace(record.timing, seconds=1e9))
    assert compared(record, again).verdict == "same"
    elsewhere = structs.replace(record, environment=structs.replace(record.environment, torch="9"))
    assert compared(record, elsewhere).verdict == "same"


def test_what_an_older_record_lacks_is_not_compared(record):
    test = structs.replace(record.test, answers=Answers.of([True]))
    assert record.test.answers is UNSET
    assert compared(record, structs.replace(record, test=test)).verdict == "same"


def test_other_bits_in_the_same_environment_are_another_result(record):
    one = answering(record, 900, processor="P")
    found = compared(one, answering(record, 901, processor="P"))
    assert found.verdict == "other"
    assert found.words == "test differ in the same environment: 90.00% in the record, 90.10% now"


@pytest.mark.parametrize(
    ("right", "verdict"), [(901, "near"), (850, "near"), (835, "other"), (945, "near"), (960, "other")]
)
def test_elsewhere_accuracies_may_differ_by_chance(record, right, verdict):
    found = compared(answering(record, 900, processor="P"), answering(record, right, processor="Q"))
    assert found.verdict == verdict
    assert "allowed with processor Q instead of P" in found.words


def test_an_environment_that_an_old_record_does_not_tell_counts_as_another(record):
    found = compared(answering(record, 900), answering(record, 901, processor="Q"))
    assert found.verdict == "near"
    assert "processor Q instead of one that it does not tell" in found.words


def test_the_tolerance_is_four_standard_errors_of_a_difference_and_an_image(record):
    one, other = answering(record, 900).test, answering(record, 880).test
    assert tolerance(one, other) == pytest.approx(4 * (2 * 0.89 * 0.11 / 1000) ** 0.5 + 0.001)
    assert tolerance(record.test, record.test) == 0


def test_a_failure_is_another_result(record):
    lost = failed(record, RecordedError(kind="oom", message=""))
    assert compared(record, lost).words == "it is done in the record, failed now"
