"""How many experiments run at a time."""

from __future__ import annotations

import os

import pytest
import torch

from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.recipe import Recipe
from lth_bench.running.placement import CONTEXT, SHARE, packed, room
from lth_bench.running.worker import make_context

GIB = 1 << 30


@pytest.mark.parametrize(
    ("needed", "free", "processors", "wanted"),
    [
        ([GIB], 80 * GIB, 16, 16),
        ([GIB], 80 * GIB, 128, int(SHARE * 80 * GIB) // (GIB + CONTEXT)),
        ([GIB, 30 * GIB], 80 * GIB, 16, 2),
        ([200 * GIB], 80 * GIB, 16, 1),
        ([], 0, 16, 1),
    ],
)
def test_as_many_as_fit_by_the_largest_and_have_a_processor(needed, free, processors, wanted):
    assert packed(needed, free, processors) == wanted


def experiment(batch):
    return Experiment(
        Choice("digits"), Choice("lenet_300_100"), Recipe(Duration("4it"), batch, 0.05), Choice("snip"), 0.9, 0
    )


def test_processors_share_nothing_and_have_one_experiment_each():
    assert room(
        [experiment(32)],
        make_context(None, "cpu"),
    ) == len(os.sched_getaffinity(0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_shared_by_experiments_that_need_little_of_it():
    assert room([experiment(32), experiment(64)], make_context(None, "cuda")) >= 2
