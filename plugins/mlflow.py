"""Experiments in MLflow: a run for each, with its curve, its test results and what was asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lth_bench import hookimpl

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lth_bench.storage.events import (
        ExperimentFinished,
        ExperimentLeft,
        ExperimentMeasured,
        ExperimentPruned,
        ExperimentStarted,
    )

LONGEST = 500  # characters of a parameter, in all stores
STATUSES = {"done": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}


@dataclass(frozen=True)
class MLflow:
    """MLflow: parameters, metrics and tags, in files by default; `uri` is a folder or that of a tracking server."""

    uri: str = ""
    experiment: str = ""

    needs: ClassVar = {"mlflow": "lth-bench[mlflow]"}

    def __call__(self, started: ExperimentStarted) -> TrackedRun:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        uri = self.uri if "://" in self.uri else started.folder("mlflow", self.uri).absolute().as_uri()
        client, name = MlflowClient(tracking_uri=uri), self.experiment or started.identity.suite
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        for earlier in client.search_runs([experiment], f"tags.key = '{started.key}'"):
            client.delete_run(earlier.info.run_id)
        run = client.create_run(experiment, tags={"key": started.key}, run_name=started.title)
        asked = [Param(name, str(value)[:LONGEST]) for name, value in started.asked.items()]
        client.log_batch(run.info.run_id, params=asked)
        return TrackedRun(client, run.info.run_id)


class TrackedRun:
    """The run of one experiment."""

    def __init__(self, client: MlflowClient, run: str) -> None:
        self._client, self._run, self._position = client, run, 0

    def measured(self, point: ExperimentMeasured) -> None:
        self._position = point.position
        self._log(point.values)

    def pruned(self, pruning: ExperimentPruned) -> None:
        self._position = pruning.position
        self._log({"pruned/kept": pruning.kept})

    def finished(self, finished: ExperimentFinished) -> None:
        self._log(finished.results)
        self._client.set_tag(self._run, "status", finished.record.status)
        self._client.set_terminated(self._run, STATUSES[finished.record.status])

    def left(self, left: ExperimentLeft) -> None:
        self._client.set_terminated(self._run, "KILLED")

    def _log(self, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, self._position) for name, value in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)


@hookimpl
def register_observers(register):
    register("mlflow", MLflow)
