"""The names of methods, as a user writes them."""

from __future__ import annotations

import pytest

from lth_bench.reports.methods import named

METHODS = ["IMP", "IMP, redraw", "one-shot magnitude", "snip", "SNIP"]


def test_methods_are_named_in_upper_or_lower_case():
    assert named("imp, ONE-SHOT magnitude", METHODS) == ["IMP", "one-shot magnitude"]
    assert named("imp, Redraw,Imp", METHODS) == ["IMP, redraw", "IMP"]


def test_of_names_that_differ_only_in_case_the_one_that_is_written_is_meant():
    assert named("snip", METHODS) == ["snip"] and named("SNIP", METHODS) == ["SNIP"]
    with pytest.raises(ValueError, match="'Snip' may be snip or SNIP: write it as the one that is meant"):
        named("Snip", METHODS)
