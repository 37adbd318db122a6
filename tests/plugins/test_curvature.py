"""The analysis of curvature: what it passes on of a ticket."""

import dataclasses

import pytest
import torch

from lth_bench import Unsuitable
from lth_bench.data.examples import Batch
from lth_bench_plugins.curvature import Curvature
from lth_bench_plugins.hessians import Surface
from support.analyses import study_of
from support.suites import finish, pruner, write_suite


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curvature")
    model = '{ name = "mlp", arguments = { widths = [6] } }'
    changes = {"model": model, "datasets": ["moons"], "duration": "2ep", "sparsities": [0.5]}
    finish(write_suite(folder / "s.toml", pruner("snip"), **changes), folder / "run")
    return folder / "run"


def exact(study, count):
    """The Hessian along the ticket's kept weights, column by column."""
    batch = study.examples(count)
    surface = Surface(study.network(study.ticket.final), study.ticket.masks, [Batch(*batch)])
    return surface, torch.stack([surface.product(unit) for unit in torch.eye(len(surface.point))])


def test_the_row_of_a_ticket_is_that_of_its_hessian_on_the_mask(directory):
    study = study_of(directory, "SNIP")
    surface, matrix = exact(study, 1000)
    (row,) = Curvature()(study)
    kept = sum(int(mask.sum()) for mask in study.ticket.masks.values())
    assert len(matrix) == kept == 12
    assert abs(row["trace"] - float(matrix.trace())) < 3 * row["error"] + 1e-3 * abs(row["trace"])
    assert row["trace_per_weight"] == pytest.approx(row["trace"] / kept)
    assert row["largest_eigenvalue"] == pytest.approx(float(torch.linalg.eigvalsh(matrix)[-1]), rel=0.02)
    assert row["loss"] == pytest.approx(surface.height(surface.point), rel=1e-4)
    for name in ("sharpness", "filter_sharpness"):
        assert 0 < row[name] <= row[f"{name}_20"] * (1 + 1e-3)


def test_it_takes_all_examples_where_there_are_fewer_and_no_more_than_asked_for(directory):
    losses = {count: next(iter(Curvature(examples=count)(study_of(directory, "SNIP"))))["loss"] for count in (50, 9999)}
    study = study_of(directory, "SNIP")
    assert losses[9999] == pytest.approx(study.training(study.ticket.final).loss, rel=1e-5)
    surface, _ = exact(study, 50)
    assert losses[50] == pytest.approx(surface.height(surface.point), rel=1e-4)


def test_a_larger_radius_lets_the_loss_rise_further(directory):
    near, far = (next(iter(Curvature(radius=radius)(study_of(directory, "SNIP")))) for radius in (0.05, 0.2))
    assert far["sharpness"] > 2 * near["sharpness"] and far["trace"] == near["trace"]


def test_a_ticket_of_no_weights_is_told(directory):
    study = study_of(directory, "SNIP")
    empty = {name: torch.zeros_like(mask) for name, mask in study.ticket.masks.items()}
    with pytest.raises(Unsuitable, match="keeps no weight"):
        list(Curvature()(study_of(directory, "SNIP", ticket=dataclasses.replace(study.ticket, masks=empty))))
