"""Which tests of plugins are slow."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items):
    """The contract of every other value of a pruner's choices takes far longer than that of their defaults."""
    for item in items:
        if getattr(item, "originalname", "") == "test_contract" and item.callspec.params["arguments"]:
            item.add_marker(pytest.mark.slow)
