"""All numbers of leaderboards, for programs."""

from __future__ import annotations

import pandas as pd

from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import TROUBLES, Leaderboards
from lth_bench.results.verdicts import verdicts

CHOICES = ["dataset_choice", "model_choice", "pruner_choice", "control_choice"]
"""Columns with what experiments name and its parameters, behind the titles."""
NUMBERS = [
    *BLOCK,
    "method",
    "target",
    "trained_with",
    "own_recipe",
    "pruner",
    "control",
    "n",
    *TROUBLES,
    "sparsity",
    "effective_sparsity",
    "collapsed_layers",
    "accuracy",
    "accuracy_lower",
    "accuracy_upper",
    "accuracy_sd",
    "difference",
    "difference_lower",
    "difference_upper",
    "difference_n",
    "p",
    "p_holm",
    "sign_flip_p",
    "sign_flip_least",
    "rank",
    "best",
    "second",
    "near_best",
    "area",
    "verdict",
    "why",
    "best_validation_accuracy",
    "early_stop_accuracy",
    "early_stop_step",
    "early_stop_step_sd",
    "censored",
    "loss",
    "calibration_error",
    "top5_accuracy",
    "steps",
    "training_flops",
    "training_flops_dense",
    "inference_flops",
    "inference_share",
    "theoretical_speedup",
    "latency",
    "parameters",
    "left_out",
    "bytes_dense",
    "bytes_bitmap",
    "bytes_csr",
    "seconds",
    "peak_memory",
    "unfit",
    "off_target",
    "environment",
    "data",
    "method_code",
    "network_code",
    "family",
    *CHOICES,
]
"""The columns for programs, in their order."""
TEXTS = [
    *BLOCK,
    "method",
    "trained_with",
    "pruner",
    "control",
    "why",
    "unfit",
    "off_target",
    "environment",
    "data",
    *CHOICES,
]


def numbers(leaderboards: Leaderboards) -> pd.DataFrame:
    """All numbers and the verdict of every method and target, a row each."""
    keys = [*BLOCK, "method", "target"]
    judged = leaderboards.rows.merge(verdicts(leaderboards), on=keys, how="left")
    return judged.fillna({"verdict": "", "why": ""})[NUMBERS]
