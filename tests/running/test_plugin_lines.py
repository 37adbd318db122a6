"""Which line of a traceback is the plugin's."""

from __future__ import annotations

import importlib
import sys

import pytest

from lth_bench.errors import SessionError
from lth_bench.running.plugin_lines import plugin_line
from support.networks import make_session

METHOD = """import json
import torch


def wrong_key(session):
    return {}["no such key"]


def prunes_while_scoring(session):
    with session.scoring():
        session.prune(session.masks)


def wrong_shapes(session):
    return torch.nn.functional.linear(torch.zeros(2, 3), torch.zeros(4, 5))


def wrong_json(session):
    return json.loads("{")
"""


@pytest.fixture
def method(tmp_path, monkeypatch):
    """The module `my_package.method`."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "method.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_package.method")
    del sys.modules["my_package.method"], sys.modules["my_package"]


@pytest.mark.parametrize(
    ("function", "kind", "line"),
    [
        ("wrong_key", KeyError, 6),
        ("prunes_while_scoring", SessionError, 11),
        ("wrong_shapes", RuntimeError, 15),
        ("wrong_json", ValueError, 19),
    ],
)
def test_the_line_is_the_last_outside_the_harness_and_libraries(method, function, kind, line):
    with pytest.raises(kind) as caught:
        getattr(method, function)(make_session())
    assert plugin_line(caught.value) == f"my_package/method.py:{line}"


def test_an_exception_of_the_harness_alone_has_no_such_line():
    error = ValueError("never raised")
    assert plugin_line(error) is None
