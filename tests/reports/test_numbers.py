"""Numbers as text."""

from __future__ import annotations

from lth_bench.reports.numbers import distinct_percents, percentage


def test_sparsities_have_the_decimals_they_need():
    found = [percentage(value) for value in (0.0, 0.5, 0.4867, 0.9, 0.995, 0.9995, 1.0)]
    assert found == ["0%", "50%", "48.7%", "90%", "99.5%", "99.95%", "100%"]


def test_sparsities_side_by_side_have_the_decimals_that_tell_them_apart():
    assert distinct_percents([0.0, 0.9, 0.95, 0.98]) == ["0%", "90%", "95%", "98%"]
    assert distinct_percents([0.135, 0.211, 0.5]) == ["13.5%", "21.1%", "50%"]
    assert distinct_percents([0.5, 0.9001, 0.9]) == ["50%", "90.01%", "90%"]
    assert distinct_percents([0.9999, 1.0]) == ["99.99%", "100%"]
