"""The analysis of faster training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from msgspec import structs

from lth_bench.errors import Unsuitable
from lth_bench.results.analyses import analyses
from lth_bench.results.frame import load
from lth_bench.storage.record import Curve, builtins
from lth_bench.storage.records import analysis_path, record_path
from lth_bench.storage.sealed import publish_json
from lth_bench_plugins.winning import Winning
from support.analyses import analysed, study_of
from support.suites import finish, pruner, write_suite


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("winning")
    pruners = pruner("dense", sparsities=[0]) + pruner("imp", controls=["redraw"]) + pruner("snip")
    suite = write_suite(folder / "s.toml", pruners, duration="3ep", sparsities=[0.9], seeds=[0, 1], rate=0.3)
    suite.write_text(suite.read_text().replace('measure_every = "1ep"', 'measure_every = "4it"'))
    finish(suite, folder / "run")
    return folder / "run"


def given(finished_run, folder, **curves):
    """The study of IMP in a copy of the run whose records of seed 0 have these curves; those with None are removed."""
    directory = Path(shutil.copytree(finished_run, folder / f"run{len(list(folder.iterdir()))}"))
    labels = {"ticket": "IMP", "dense": "dense", "redraw": "IMP, redraw"}
    for name, curve in curves.items():
        record = study_of(directory, labels[name]).record
        path = record_path(directory, record.key)
        path.unlink()
        if curve is not None:
            publish_json(path, builtins(structs.replace(record, curve=made(*curve))))
    return study_of(directory, "IMP")


def made(steps, losses, kept=None):
    kept = kept or [7] * len(steps)
    return Curve(step=steps, kept=kept, training_loss=losses, validation_loss=losses, validation_accuracy=losses)


DENSE = ([0, 10, 20, 30, 40], [2.0, 1.0, 0.5, 0.4, 0.6])


def test_curves_by_hand(directory, tmp_path):
    ticket, redrawn = ([0, 10, 20, 30, 40], [2.0, 0.4, 0.3, 0.5, 0.6]), ([0, 10, 20, 30, 40], [2.0, 1.8, 1.5, 1.0, 0.7])
    study = given(directory, tmp_path, ticket=ticket, dense=DENSE, redraw=redrawn)
    dense, redraw = Winning(times=1)(study)
    assert dense == {
        **{"against": "dense", "loss": 0.4, "every": 10},
        **{"steps": 10, "missed": 0, "stop": 20, "stop_missed": 0},
        **{"rival_steps": 30, "rival_missed": 0, "rival_stop": 30, "rival_stop_missed": 0},
    }
    assert redraw["against"] == "redraw"
    assert (redraw["rival_steps"], redraw["rival_missed"]) == (40, 1), "never so low: 40 steps were not enough"
    assert (redraw["rival_stop"], redraw["rival_stop_missed"]) == (40, 1), "the lowest is still the last"
    (row, _) = Winning(loss=0.5)(study)
    assert (row["loss"], row["steps"], row["rival_steps"]) == (0.5, 10, 20)
    (row,) = Winning(times=1.25)(given(directory, tmp_path, ticket=ticket, dense=DENSE, redraw=None))
    assert (row["against"], row["loss"], row["rival_steps"]) == ("dense", 0.5, 20)


def test_only_measurements_of_the_last_course_at_the_final_sparsity_count(directory, tmp_path):
    steps, losses = [0, 10, 20, 0, 10, 20, 30], [2.0, 0.1, 0.1, 2.0, 0.2, 0.4, 0.3]
    denser = (steps, losses, [9, 9, 9, 9, 9, 7, 7])
    (row,) = Winning(times=1)(given(directory, tmp_path, ticket=denser, dense=DENSE, redraw=None))
    assert (row["steps"], row["stop"]) == (20, 30), "the earlier losses are those of denser networks"
    (row,) = Winning(times=1)(given(directory, tmp_path, ticket=(steps, losses), dense=DENSE, redraw=None))
    assert (row["steps"], row["stop"]) == (10, 10), "those before the clock went back are of another training"


def test_without_a_dense_network_or_a_control_their_rows_are_absent(directory, tmp_path):
    study = given(directory, tmp_path, ticket=DENSE, dense=None, redraw=DENSE)
    (row,) = Winning()(study)
    assert row["against"] == "redraw" and row["stop"] == 30
    assert not {"loss", "steps", "missed"} & set(row), "no loss is given without a dense network"
    (row,) = Winning(loss=0.5)(study)
    assert row["steps"] == row["rival_steps"] == 20
    with pytest.raises(Unsuitable, match=r"neither a dense experiment .* nor its control 'redraw'"):
        list(Winning()(given(directory, tmp_path, ticket=DENSE, dense=None, redraw=None)))
    with pytest.raises(Unsuitable, match="no measurement under the final mask"):
        list(Winning()(given(directory, tmp_path, ticket=([], []))))


@pytest.mark.parametrize(("label", "reason"), [("dense", "it prunes nothing"), ("IMP, redraw", "it is a control")])
def test_it_does_not_apply_to_what_tickets_are_compared_with(directory, label, reason):
    with pytest.raises(Unsuitable, match=reason):
        list(Winning()(study_of(directory, label)))


def test_the_early_stop_step_is_that_of_the_record_and_needs_no_ticket(directory):
    for label in ("IMP", "SNIP"):
        study = study_of(directory, label)
        row = next(iter(Winning()(study)))
        assert row["stop"] == study.record.test.early_stop.step
        assert row["rival_stop"] == study.dense.record.test.early_stop.step
        assert bool(row["stop_missed"]) == bool(study.record.test.early_stop.censored)
        assert "ticket" not in vars(study.subject), "records are enough"


def test_differences_are_paired_and_what_missed_is_counted():
    def row(seed, steps, missed, other, other_missed):
        told = {"key": f"k{seed}", "method": "imp", "target": 0.9, "against": "dense", "seed": seed, "loss": 0.5}
        return {**told, "steps": steps, "missed": missed, "rival_steps": other, "rival_missed": other_missed}

    rows = [row(0, 10, 0, 30, 0), row(1, 20, 0, 50, 1), row(2, 50, 1, 40, 0), row(3, 50, 1, 50, 1)]
    (found,) = Winning().table(pd.DataFrame(rows)).to_dict("records")
    assert (found["steps"], found["rival_steps"]) == (32.5, 42.5)
    assert (found["missed"], found["rival_missed"], found["first"], found["n"]) == ("2 of 4", "2 of 4", "2 of 4", 4)
    assert found["difference"] == (-20 - 30 + 10 + 0) / 4
    assert found["half"] == pytest.approx(3.1824 * (1000 / 3) ** 0.5 / 2, rel=1e-3), "Student's t of 3 degrees"
    (unknown,) = Winning().table(pd.DataFrame(rows[3:])).to_dict("records")
    assert "difference" not in unknown and unknown["missed"] == "1 of 1"


def test_table_of_a_run_directory(directory):
    for label in ("IMP", "SNIP"):
        for seed in (0, 1):
            record = analysed(study_of(directory, label, seed), "winning")
            assert record.status == "done" and not record.findings.work, record.error
            publish_json(record_path(analysis_path(directory, "winning"), record.key), builtins(record))
    (found,) = analyses(load(directory))
    table = Winning().table(found.rows)
    places = list(table[["method", "against", "measure"]].itertuples(index=False, name=None))
    wanted = [("IMP", "dense"), ("IMP", "redraw"), ("SNIP", "dense")]
    assert places == [(*place, measure) for measure in ("steps to the loss", "early stop") for place in wanted]
    assert set(table["n"]) == {2}
