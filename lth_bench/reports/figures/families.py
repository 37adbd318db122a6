"""Families of methods, and the panels that they fill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from lth_bench.experiments.about import FAMILIES

Item = TypeVar("Item")


def order(family: str) -> int:
    """The place of a family among the others; one that is not known comes last."""
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def panelled(items: Sequence[Item], families: Sequence[str], most: int) -> list[tuple[str, list[Item]]]:
    """Items in panels of about `most`, each with its title: one panel if they fit, else panels for each family.

    Where no family is known there are no titles, and an even number of panels, filled evenly.
    """
    if len(items) <= most + 1:
        return [("", list(items))]
    if not any(families):
        count = math.ceil(len(items) / most)
        return [("", part) for part in _even(items, count + count % 2)]
    panels = []
    for family in sorted(set(families), key=order):
        among = [item for item, own in zip(items, families, strict=True) if own == family]
        title = family[:1].upper() + family[1:] or "Other"
        panels += [(title, part) for part in _even(among, math.ceil(len(among) / most))]
    return panels


def _even(items: Sequence[Item], count: int) -> list[list[Item]]:
    return [[items[place] for place in part] for part in np.array_split(np.arange(len(items)), count)]
