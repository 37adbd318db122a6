"""The contract as tests for pytest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lth_bench.conformance.examination import check, glance, summary
from lth_bench.conformance.variants import variants
from lth_bench.experiments.choices import label
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import Plugins, load_plugins


def contract(*names: str, plugins: Plugins | None = None) -> Callable[..., None]:
    """A test of each registered pruner, and one for every other value of its choices and switches.

    `test_contract = contract("mine")` is a whole test module. Raises UnknownName where a pruner is not installed.
    """
    import pytest

    registered = plugins or load_plugins()
    cases = [
        pytest.param(name, arguments, id=label(Choice(name, arguments)))
        for name in names
        for arguments in variants(registered.pruners[name])
    ]

    def test_contract(name: str, arguments: dict[str, Any]) -> None:
        try:
            finding = summary(list((glance if arguments else check)(registered, name, arguments)))
        except ValueError as error:
            pytest.skip(f"{name} refuses this: {error}")
        if finding.state == "does not apply":
            pytest.skip(f"{name} does not apply: {finding.reason}")
        assert finding.state == "holds", finding.reason

    decorated: Callable[..., None] = pytest.mark.parametrize(("name", "arguments"), cases)(test_contract)
    return decorated
