"""The fault suite: every test injects one fault many times and notes how often something went wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.runners import Runners


@pytest.fixture(scope="session")
def long(request) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture
def tally(record_property):
    """Notes a row of the table of faults, and fails if something went wrong."""

    def note(fault: str, tries: int, bad: list, figure: str) -> None:
        record_property("fault", json.dumps([fault, tries, len(bad), figure]))
        assert not bad, bad[:5]

    return note


@pytest.fixture
def runners() -> Iterator[Runners]:
    started = Runners()
    yield started
    started.close()
