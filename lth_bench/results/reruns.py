"""Whether an experiment that was run again gives what its record says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from msgspec import UNSET, structs

from lth_bench.storage.record import Environment, Evaluation, Record, builtins

Verdict = Literal["same", "near", "other"]
ERRORS = 4  # standard errors by which two accuracies of one experiment may differ elsewhere
COMPARED = ("status", "sparsity", "network", "test", "data", "curve", "prunings", "events", "notes", "ticket")
DECIDING = ("torch", "timm", "numpy", "system", "device", "threads", "processor")
"""What decides about the last bits of numbers, of an environment."""


@dataclass(frozen=True)
class Rerun:
    """What another run of an experiment says of its record.

    It is the "same" bit for bit; "near": no further from it than chance allows where the environment is another one; or
    the "other" thing. `words` say in what they differ.
    """

    verdict: Verdict
    words: str


def compared(record: Record, again: Record) -> Rerun:
    """Compares a record to that of another run of its experiment.

    In the same environment every number but times has to be equal to the last bit. Elsewhere sums are rounded in other
    ways, and training amplifies that: accuracies may differ by 4 standard errors of the difference between two networks
    of that accuracy, each with errors of its own, on so many test images, and one image.
    """
    differing = [name for name in COMPARED if not _equal(getattr(record, name), getattr(again, name))]
    if not differing:
        return Rerun("same", "the same bit for bit")
    others = list(_environments(record.environment, again.environment))
    if record.status != again.status or record.test is None or again.test is None:
        return Rerun("other", f"it is {record.status} in the record, {again.status} now")
    number = f"{record.test.last.accuracy:.2%} in the record, {again.test.last.accuracy:.2%} now"
    if not others:
        return Rerun("other", f"{', '.join(differing)} differ in the same environment: {number}")
    allowed = tolerance(record.test, again.test)
    words = f"{number}, {allowed:.2%} allowed with {'; '.join(others)}"
    near = abs(record.test.last.accuracy - again.test.last.accuracy) <= allowed
    return Rerun("near" if near else "other", words)


def tolerance(one: Evaluation, other: Evaluation) -> float:
    """By how much two last accuracies of one experiment may differ where numbers are rounded otherwise."""
    images = next((test.answers.images for test in (other, one) if test.answers is not UNSET), None)
    if images is None:
        return 0.0
    share = (one.last.accuracy + other.last.accuracy) / 2
    return ERRORS * sqrt(2 * share * (1 - share) / images) + 1 / images


def _equal(one: Any, other: Any) -> bool:
    """Whether two parts of records are equal, but for what an older one lacks."""
    if isinstance(one, Evaluation) and isinstance(other, Evaluation) and UNSET in (one.answers, other.answers):
        one, other = (structs.replace(test, answers=UNSET) for test in (one, other))
    return one is None or other is None or builtins(one) == builtins(other)


def _environments(one: Environment | None, other: Environment | None) -> Iterator[str]:
    """In what environments differ, as far as it decides about numbers."""
    for name in DECIDING:
        then, now = getattr(one, name, UNSET), getattr(other, name, UNSET)
        if then != now:
            yield f"{name} {now} instead of {'one that it does not tell' if then is UNSET else then}"
