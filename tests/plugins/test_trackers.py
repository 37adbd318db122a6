"""TensorBoard, MLflow and Weights & Biases show what records hold, read back from their files."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.observing import Audience
from lth_bench.storage.events import ExperimentFinished, ExperimentLeft, ExperimentMeasured, ExperimentStarted
from lth_bench.storage.record import RecordedError, failed, identity_of
from lth_bench.storage.records import read_records
from support.runners import Runners
from support.suites import pruner, write_suite
from support.wandb_files import logged

PRUNERS = pruner("dense", sparsities=[0]) + pruner("imp", arguments={"rewind_to": "5it"}) + pruner("snip")
TRACKERS = ("tensorboard", "mlflow", "wandb")


@dataclass
class Shown:
    """What a tracker shows of an experiment: series of (position, value) by name, what was asked for, and its end."""

    series: dict[str, list[tuple[int, float]]]
    asked: dict[str, object]
    status: str


def tensorboard(folder, key):
    (path,) = folder.glob(f"*.{key}")
    files = EventAccumulator(str(path))
    files.Reload()
    series = {tag: [(event.step, event.value) for event in files.Scalars(tag)] for tag in files.Tags()["scalars"]}
    (content,) = files.PluginTagToContent("hparams").values()
    start = HParamsPluginData.FromString(content).session_start_info
    asked = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return Shown(series, asked, "")


def mlflow(folder, key):
    client = MlflowClient(folder.absolute().as_uri())
    (run,) = client.search_runs([item.experiment_id for item in client.search_experiments()], f"tags.key = '{key}'")
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    series = {name: [(metric.step, metric.value) for metric in metrics] for name, metrics in history.items()}
    return Shown(series, run.data.params, run.info.status)


def wandb(folder, key):
    (path,) = folder.glob(f"wandb/offline-run-*-{key}/run-{key}.wandb")
    asked, history, summary, code = logged(path)
    names = dict.fromkeys(name for row in history for name in row if "/" in name)
    series = {name: [(row["position"], row[name]) for row in history if name in row] for name in names}
    last = {name: [(history[-1]["position"], value)] for name, value in summary.items() if name not in series}
    return Shown(last | series, asked, summary.get("status", "") if code == 0 else f"exit code {code}")


READERS = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}
ENDS = {"tensorboard": "", "mlflow": "FINISHED", "wandb": "done"}
every_tracker = pytest.mark.parametrize("name", TRACKERS)


@pytest.fixture(autouse=True)
def file_store(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A run directory that all trackers have observed."""
    folder, runners = tmp_path_factory.mktemp("tracked"), Runners()
    suite = write_suite(folder / "s.toml", PRUNERS, sparsities=[0.75], duration="2ep")
    observed = [f"--observe={name}" for name in TRACKERS]
    run = runners.command("run", suite, "--out", folder / "run", "--device", "cpu", "--no-report", *observed)
    said = run.communicate(timeout=250)[0]
    runners.close()
    assert run.returncode == 0 and "told no more" not in said, said
    return folder / "run"


def positions(steps):
    """The steps of a curve, each round behind the one before."""
    offset, found = 0, []
    for before, step in zip([0, *steps], steps, strict=False):
        offset += before if step <= before else 0
        found.append(offset + step)
    return found


def check(shown, record, name):
    """Compares what a tracker shows with a record; TensorBoard has single precision, MLflow has texts as parameters."""
    rounded = np.float32 if name == "tensorboard" else float
    places = positions(record.curve.step)
    for column in record.curve.__struct_fields__:
        values = getattr(record.curve, column)
        assert shown.series[f"curve/{column}"] == [(place, rounded(v)) for place, v in zip(places, values, strict=True)]
    for number, value in ExperimentFinished(record).results.items():
        assert [value for _, value in shown.series[number]] == [rounded(value)]
    kept = [value for _, value in shown.series.get("pruned/kept", [])]
    assert kept == [pruning.kept for pruning in record.prunings] and bool(kept) == bool(record.experiment.sparsity)
    asked = ExperimentStarted(identity_of(record), "").asked
    written = (lambda value: str(value)) if name == "mlflow" else (lambda value: value)
    assert {key: shown.asked[key] for key in asked} == {key: written(value) for key, value in asked.items()}
    assert shown.status == ENDS[name]


@every_tracker
def test_a_tracker_shows_the_numbers_of_the_records(directory, name):
    records = read_records(directory)
    assert [record.status for record in records] == ["done"] * 3
    for record in records:
        check(READERS[name](directory / "trackers" / name, record.key), record, name)
    steps = next(record.curve.step for record in records if record.experiment.pruner.name == "imp")
    assert sorted(steps) != steps, "IMP goes back, so that positions and steps differ"


@every_tracker
def test_records_are_shown_afterwards_once_however_often(directory, name, tmp_path):
    shutil.copytree(directory, tmp_path / "run", ignore=shutil.ignore_patterns("trackers"))
    option, runners = "uri" if name == "mlflow" else "folder", Runners()
    for _ in range(2):
        observe = runners.command("observe", tmp_path / "run", f"{name} {option}={tmp_path / 'there'}")
        said = observe.communicate(timeout=120)[0]
        assert observe.returncode == 0 and said == f"{name}: 3 experiments of {tmp_path}/run/\n"
    runners.close()
    for record in read_records(directory):
        check(READERS[name](tmp_path / "there", record.key), record, name)
    assert not (tmp_path / "run" / "trackers").exists()


@every_tracker
def test_a_try_that_was_left_is_replaced_and_a_failure_shown_as_one(directory, name, tmp_path):
    """In a process of its own, which a tracker may change as it likes."""
    record = read_records(directory)[0]
    started = ExperimentStarted(identity_of(record), str(tmp_path))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            audience = Audience(instantiate(load_plugins().observers, name, {}))
            for step in (1, 2):
                audience.hear(record.key, started)
                audience.hear(record.key, ExperimentMeasured(step, 9, None, 0.5, 0.25))
                audience.hear(record.key, ExperimentLeft())
            audience.hear(record.key, started)
            audience.hear(record.key, ExperimentMeasured(3, 9, None, 0.5, 0.25))
            error = RecordedError(kind="lost", message="gone", traceback="")
            audience.hear(record.key, ExperimentFinished(failed(started.identity, error)))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    shown = READERS[name](tmp_path / "trackers" / name, record.key)
    assert shown.series["curve/validation_loss"] == [(3, 0.5)]
    assert shown.status == {"tensorboard": "", "mlflow": "FAILED", "wandb": "exit code 1"}[name]
