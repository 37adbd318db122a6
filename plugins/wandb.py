"""Experiments in Weights & Biases: a run for each, with its curve, its test results and what was asked for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lth_bench import hookimpl

if TYPE_CHECKING:
    from lth_bench.storage.events import (
        ExperimentFinished,
        ExperimentLeft,
        ExperimentMeasured,
        ExperimentPruned,
        ExperimentStarted,
    )


@dataclass(frozen=True)
class WeightsAndBiases:
    """Weights & Biases: offline by default, for `wandb sync`; the id of a run is the key of its experiment."""

    folder: str = ""
    project: str = "lth-bench"
    mode: Literal["offline", "online"] = "offline"

    needs: ClassVar = {"wandb": "lth-bench[wandb]"}

    def __call__(self, started: ExperimentStarted) -> Logged:
        import wandb

        folder = started.folder("wandb", self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob(f"wandb/*run-*-{started.key}"):
            shutil.rmtree(earlier)
        run = wandb.init(
            project=self.project,
            dir=folder,
            mode=self.mode,
            id=started.key,
            name=started.title,
            group=started.identity.suite,
            config=started.asked,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        return Logged(run)


class Logged:
    """The run of one experiment."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def measured(self, point: ExperimentMeasured) -> None:
        self._run.log(point.values, step=point.position)

    def pruned(self, pruning: ExperimentPruned) -> None:
        self._run.log({"pruned/kept": pruning.kept}, step=pruning.position)

    def finished(self, finished: ExperimentFinished) -> None:
        self._run.summary.update({**finished.results, "status": finished.record.status})
        self._run.finish(exit_code=int(finished.record.status != "done"))

    def left(self, left: ExperimentLeft) -> None:
        self._run.finish(exit_code=1)


@hookimpl
def register_observers(register):
    register("wandb", WeightsAndBiases)
