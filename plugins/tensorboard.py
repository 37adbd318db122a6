"""Experiments in TensorBoard: a run for each, with its curve, its test results and what was asked for."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lth_bench import hookimpl

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

    from lth_bench.storage.events import (
        ExperimentFinished,
        ExperimentLeft,
        ExperimentMeasured,
        ExperimentPruned,
        ExperimentStarted,
    )


@dataclass(frozen=True)
class TensorBoard:
    """TensorBoard: scalars and hyperparameters, in single precision; `tensorboard --logdir FOLDER` shows them."""

    folder: str = ""

    needs: ClassVar = {"tensorboard": "lth-bench[tensorboard]"}

    def __call__(self, started: ExperimentStarted) -> Board:
        folder = started.folder("tensorboard", self.folder)
        for earlier in folder.glob(f"*.{started.key}"):
            shutil.rmtree(earlier)
        name = re.sub(r"[^\w.=-]+", "-", started.title)
        return Board(folder / f"{name}.{started.key}", started.asked)


class Board:
    """The files of one experiment."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer, self._position = EventFileWriter(str(folder), flush_secs=10), 0
        self._write(0, Summary.Value(tag=SESSION_START_INFO_TAG, metadata=_session(asked)))

    def measured(self, point: ExperimentMeasured) -> None:
        self._position = point.position
        self._scalars(point.values)

    def pruned(self, pruning: ExperimentPruned) -> None:
        self._position = pruning.position
        self._scalars({"pruned/kept": pruning.kept})

    def finished(self, finished: ExperimentFinished) -> None:
        self._scalars(finished.results)
        self._writer.close()

    def left(self, left: ExperimentLeft) -> None:
        self._writer.close()

    def _scalars(self, numbers: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(self._position, *(Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()))

    def _write(self, step: int, *values: Summary.Value) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=values)))


def _session(asked: Mapping[str, Any]) -> Any:
    """The start of a session of TensorBoard's plugin for hyperparameters."""
    from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
    from tensorboard.plugins.hparams.metadata import PLUGIN_DATA_VERSION, PLUGIN_NAME
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo()
    for name, value in asked.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    content = HParamsPluginData(version=PLUGIN_DATA_VERSION, session_start_info=start).SerializeToString()
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content))


@hookimpl
def register_observers(register):
    register("tensorboard", TensorBoard)
