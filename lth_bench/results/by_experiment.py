"""The results of run directories for scripts and notebooks: a row for every experiment."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from lth_bench.results.costs import Costs
from lth_bench.results.merging import load_all

RENAMED = {"asked": "target", "last_accuracy": "accuracy"}
"""Columns that leaderboards call otherwise."""
SHOWN = [
    *("key", "suite", "dataset", "model", "recipe", "method", "target", "pattern", "seed", "status"),
    *("sparsity", "effective_sparsity", "collapsed_layers", "kept_zeros", "accuracy", "difference"),
    *("best_validation_accuracy", "best_validation_step", "early_stop_accuracy", "early_stop_step", "censored"),
    *("loss", "calibration_error", "top5_accuracy", "ticket_step", "last_step", "steps", *Costs._fields),
    *("latency", "seconds", "peak_memory", "pruner", "control", "family", "trained_with", "own_recipe", "helper"),
    *("dataset_choice", "model_choice", "pruner_choice", "control_choice"),
    *("unfit", "off_target", "environment", "data", "method_code", "network_code"),
]


def results(*directories: str | os.PathLike[str], all_revisions: bool = False) -> pd.DataFrame:
    """The experiments of run directories that can be compared: a row for each, in the order of the plans.

    Planned experiments without a record have the status "missing". Accuracies are in per cent; `difference` is to the
    dense network of the same data, model, recipe and seed, in points. Results of which a raised revision has taken the
    place are left out unless `all_revisions` are asked for. Raises FileFault.
    """
    frame = load_all([Path(directory) for directory in directories], all_revisions).frame
    return frame.rename(columns=RENAMED)[SHOWN].reset_index(drop=True)
