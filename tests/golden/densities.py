"""Golden checks of layer densities: Erdős-Rényi, with and without kernels."""

from __future__ import annotations

import math

import pytest

from golden.cases import Case, Difference, Unchecked
from lth_bench.pruning.allocation import Shapes, er, er_densities, erk, erk_densities, first_dense, kept_count, uniform


def uniform_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    return dict.fromkeys(shapes, 1 - sparsity)


DENSITIES = {"erdos_renyi": er_densities, "erdos_renyi_kernel": erk_densities, "random": uniform_densities}
SPREADS = {"erdos_renyi": er, "erdos_renyi_kernel": erk, "random": uniform}
NEAR = 3
"""By so many weights a layer may differ: ours are rounded so that the total is exact, the official ones one by one."""


def check_densities(case: Case) -> None:
    shapes, sparsity = shapes_of(case), case.facts["sparsity"]
    method = case.facts.get("method", "erdos_renyi_kernel")
    if method not in SPREADS:
        raise Unchecked(f"no check for densities by {method!r}; known: {', '.join(SPREADS)}")
    if "custom_sparsity_map" in case.function:
        check_first_dense(case, method, shapes, sparsity)
        return
    allowed = rounding(case, method, shapes, sparsity)
    ours = in_order(case, DENSITIES[method](shapes, sparsity))
    assert ours == pytest.approx(official_densities(case), rel=allowed)
    if (counts := case.value("layer_nnz")) is not None:
        ours = in_order(case, kept_counts(shapes, SPREADS[method](shapes, sparsity)))
        assert ours == pytest.approx(counts.tolist(), abs=NEAR, rel=allowed)


def shapes_of(case: Case) -> Shapes:
    """The shapes, outputs first, of the layers of the case's model; a file has those of one model, or of several."""
    shapes = case.meta.get("shapes") or case.meta["shapes_torch"]
    return {name: tuple(shape) for name, shape in shapes.get(case.facts.get("model"), shapes).items()}


def rounding(case: Case, method: str, shapes: Shapes, sparsity: float) -> float:
    """All but ITOP round each layer's pruned weights down while they solve for the scale: by one weight a layer."""
    if case.by("Shiweiliuiiiiiii/"):
        return 1e-9
    densities = DENSITIES[method](shapes, sparsity)
    kept = [densities[name] * math.prod(shape) for name, shape in shapes.items() if densities[name] < 1]
    return len(shapes) / max(1.0, sum(kept))


def check_first_dense(case: Case, method: str, shapes: Shapes, sparsity: float) -> None:
    """There the first layer is left out of the total that is to be met: its sparsity is that of the others."""
    first, *_ = shapes
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = sum(sizes.values())
    counts = kept_counts(shapes, first_dense(SPREADS[method], shapes, sparsity * (total - sizes[first]) / total))
    pairs = zip(official_densities(case), in_order(case, sizes), strict=True)
    official = [density * size for density, size in pairs]
    assert in_order(case, counts) == pytest.approx(official, abs=NEAR, rel=rounding(case, method, shapes, sparsity))
    assert counts[first] == sizes[first]


def kept_counts(shapes: Shapes, sparsities: dict[str, float]) -> dict[str, int]:
    return {name: kept_count(sparsities[name], math.prod(shape)) for name, shape in shapes.items()}


def official_densities(case: Case) -> list[float]:
    sparsity = case.value("layer_sparsity")
    return (case.own("layer_density")[""] if sparsity is None else 1 - sparsity).tolist()


def in_order(case: Case, ours: dict[str, float]) -> list[float]:
    return [ours[name] for name in case.facts.get("layer_order", list(ours))]


CHECKS = {"erk_torch": check_densities, "erk_jax": check_densities, "erk_tf": check_densities}
NOT_COMPARABLE = [
    Difference(
        "erk_tf",
        lambda case: case.facts.get("erk_power_scale", 1.0) != 1.0,
        "no plugin here raises Erdős-Rényi's densities to a power",
    )
]
