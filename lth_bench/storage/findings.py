"""The parts of a record that only those of analyses have."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from lth_bench.experiments.experiment import Choice
from lth_bench.storage.work import Network, RecordedEvent

RESERVED = ("key", "dataset", "model", "recipe", "method", "family", "control", "target", "sparsity", "seed")
"""Columns of the tables of analyses that tell the experiment; rows have none of these names."""


class Analysed(Struct, frozen=True):
    """An analysis, the key of the experiment that it is of, and the SHA-256 of that experiment's ticket."""

    choice: Choice
    key: str
    ticket: str


class TrainingWork(Struct, frozen=True):
    """What an analysis has trained of one network: its costs, and its events."""

    network: Network
    events: list[RecordedEvent]


class AnalysisFindings(Struct, frozen=True, omit_defaults=True):
    """The rows of an analysis and what it has trained; or the reason why it does not apply to the experiment."""

    rows: list[dict[str, Any]] = []
    reason: str = ""
    work: list[TrainingWork] = []
