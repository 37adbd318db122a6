"""Golden checks of dynamic sparse training: layer densities, schedules, updates."""

from __future__ import annotations

import re

import pytest
from golden_cases import Case

from lth_bench.allocation import erk_densities


def check_erk(case: Case):
    supported = re.fullmatch(r"(itop|jaxpruner|rigl)\.(\w+)\.(erdos_renyi_kernel\.)?s(\d+)(\.pow1\.0)?", case.variant)
    if not supported:
        pytest.skip("a distribution that no plugin here offers")
    known = case.meta.get("shapes") or case.meta["shapes_torch"]
    shapes = {name: tuple(shape) for name, shape in known[supported[2]].items()}
    ours = erk_densities(shapes, int(supported[4]) / 100)
    sparsity = case.own("layer_sparsity")
    density = 1 - sparsity[""] if sparsity else case.own("layer_density")[""]
    order = case.result.get("layer_order", list(shapes))
    # Other codes than ITOP's round each layer's count down while they solve for the scale.
    tolerance = 1e-9 if supported[1] == "itop" else 1e-2
    assert [ours[name] for name in order] == pytest.approx(density.tolist(), rel=tolerance)


CHECKS = {"erk_torch": check_erk, "erk_jax": check_erk, "erk_tf": check_erk}

NOT_COMPARABLE: dict[tuple[str, str], str] = {}
