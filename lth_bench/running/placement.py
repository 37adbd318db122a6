"""How many experiments run at a time: one a processor, and on a GPU no more than fit into its memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Experiment
from lth_bench.machine import processors
from lth_bench.models.modes import mode
from lth_bench.models.predictions import CHUNK
from lth_bench.running.context import Context

CONTEXT = 700 << 20  # bytes that a process takes on a GPU beside its tensors
COPIES = 8  # of a network's state in one experiment: ticket, best points, snapshots, scores, masks
SHARE = 0.9  # of the free memory for experiments


def room(experiments: Iterable[Experiment], context: Context) -> int:
    """How many of these experiments may run at a time; on a GPU, by the memory that one step of each kind takes."""
    if context.device.type != "cuda":
        return processors()
    kinds = {f"{e.model} {e.dataset} {e.recipe}": e for planned in experiments for e in _phases(planned)}
    try:
        needed = [_needed(experiment, context) for experiment in kinds.values()]
    except torch.OutOfMemoryError:
        return 1
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(context.device)
    return packed(needed, free, processors())


def _phases(experiment: Experiment) -> Iterator[Experiment]:
    """The experiment with a recipe of one step; and with that of what follows its mask, if it has one."""
    for recipe in filter(None, (experiment.recipe, experiment.after.recipe)):
        one = replace(recipe, duration=Duration("1it"), warmup=Duration("0it"), schedule="constant", milestones=())
        yield replace(experiment, recipe=one)


def packed(needed: Iterable[int], free: int, most: int) -> int:
    """How many processes, from one to `most`, fit into `free` bytes; each takes a context and up to `needed` bytes."""
    largest = max(needed, default=0) + CONTEXT
    return max(1, min(most, int(SHARE * free) // largest))


def _needed(experiment: Experiment, context: Context) -> int:
    """Bytes of the device for a step, a chunk of an evaluation, the data, and the states that an experiment keeps."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(context.device)
    session = context.session(experiment)
    session.compute(1)
    with torch.no_grad(), mode(session.model, training=False):
        session.model(next(context.examples(experiment)[1].chunks(CHUNK)).inputs)
    state: int = sum(value.nbytes for value in session.model.state_dict().values())
    return torch.cuda.max_memory_reserved(context.device) + COPIES * state
