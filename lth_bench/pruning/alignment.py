"""Weight matching: the order of one network's hidden units that brings its weights nearest to another's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy  # type: ignore[import-untyped]
import torch
from torch import Generator, Tensor

from lth_bench.pruning.hidden_units import Units, permuted

State = Mapping[str, Tensor]


def matched(groups: Sequence[Units], state: State, target: State, draws: Generator) -> list[Tensor]:
    """For each group of units of `state` the order, for `permuted`, in which its weights are nearest to the target's.

    Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1: group by group, in random order, the assignment that maximises
    the inner product of all weights, biases, scales and shifts, until none raises it. It starts from assignments made
    once from the input to the output, each by the weights between units that are assigned already.
    """
    here, there = _doubles(groups, state), _doubles(groups, target)
    orders = []
    for number, units in enumerate(groups):
        orders.append(_assigned(units, here, there, _names(groups[number + 1 :])))
        here = permuted(here, [units], orders[-1:])
    moved = True
    while moved:
        moved = False
        for number in torch.randperm(len(groups), generator=draws).tolist():
            group = [groups[number]]
            order = _assigned(group[0], here, there, set())
            candidate = permuted(here, group, [order])
            if _product(group, candidate, there) > _product(group, here, there):
                here, orders[number], moved = candidate, orders[number][order], True
    return orders


def likeness(groups: Sequence[Units], one: State, other: State) -> float:
    """The cosine of all weights, biases, scales and shifts of hidden units, 1 for networks of the same direction."""
    a, b = _doubles(groups, one), _doubles(groups, other)
    norms = _product(groups, a, a) * _product(groups, b, b)
    return _product(groups, a, b) / math.sqrt(norms)


def _assigned(units: Units, here: State, there: State, left_out: set[str]) -> Tensor:
    """The order of units in which the weights in these tensors, but for some, have the largest product."""
    gains = np.zeros((len(units), len(units)))
    for use in units.uses:
        if use.is_learned and use.tensor not in left_out:
            mine, target = (_by_unit(values[use.tensor], use.axis, use.places) for values in (here, there))
            gains += (target @ mine.T).numpy()
    return torch.from_numpy(scipy.optimize.linear_sum_assignment(gains, maximize=True)[1])


def _by_unit(value: Tensor, axis: int, places: Tensor) -> Tensor:
    return value.movedim(axis, 0)[places.flatten()].reshape(len(places), -1)


def _product(groups: Sequence[Units], one: State, other: State) -> float:
    return sum(float((one[name] * other[name]).sum()) for name in sorted(_names(groups)))


def _names(groups: Sequence[Units]) -> set[str]:
    return {use.tensor for units in groups for use in units.uses if use.is_learned}


def _doubles(groups: Sequence[Units], state: State) -> dict[str, Tensor]:
    return {name: state[name].detach().cpu().double() for name in _names(groups)}
