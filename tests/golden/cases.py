"""The cases of a folder in the format of README.md: files read and checked, and the facts and arrays of one variant."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

DTYPES = {"f32": torch.float32, "f64": torch.float64}


class FolderFault(Exception):
    """A folder that holds no cases, or files that are none."""


class Unchecked(Exception):
    """Why no check here can judge a case."""


@dataclass(frozen=True)
class Difference:
    """Cases of a family in which our numbers are not the official ones, and why; the cases are told by their facts."""

    family: str
    concerns: Callable[[Case], bool]
    reason: str


@dataclass(frozen=True)
class Case:
    """One variant of one file: what the official code was asked, and what it computed."""

    path: Path
    variant: str

    def __str__(self) -> str:
        return f"{self.path.stem}-{self.variant}"

    @property
    def family(self) -> str:
        return self.path.stem.split("__")[0]

    @property
    def meta(self) -> dict[str, Any]:
        return _meta(self.path)

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says of this variant alone."""
        return self.meta["results"][self.variant]

    @property
    def function(self) -> str:
        """The official function, and how it was called."""
        return str(self.facts.get("function", ""))

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.facts.get("dtype", "f32")]

    @property
    def batch_statistics(self) -> bool:
        """Whether batch norm used the statistics of the batch rather than the running ones."""
        return self.facts.get("bn_mode", "eval") == "train"

    def by(self, owner: str) -> bool:
        """Whether the official code is from this owner's repository."""
        return str(self.facts.get("repo", "")).startswith(owner)

    def called_with(self, pattern: str, default: str | None = None) -> str | None:
        """What a pattern with one group captures in the call of the official function."""
        found = re.search(pattern, self.function)
        return found[1] if found else default

    def arrays(self, prefix: str) -> dict[str, Tensor]:
        """The arrays whose names start so, by the rest of their names."""
        stored = _arrays(self.path)
        return {name[len(prefix) :]: torch.from_numpy(stored[name]) for name in stored if name.startswith(prefix)}

    def own(self, prefix: str = "") -> dict[str, Tensor]:
        """The arrays of this variant whose names start so, by the rest of their names."""
        return self.arrays(f"res/{self.variant}/{prefix}")

    def value(self, name: str) -> Tensor | None:
        """The array of this variant with this name, if there is one."""
        return self.own(name).get("")

    @property
    def masks(self) -> dict[str, dict[str, Tensor]]:
        """The masks of this variant by name, each by layer; those of biases are left out."""
        names = {name.split("/")[0] for name in self.own("mask") if "/" in name}
        return {f"mask{name}": self._mask(f"mask{name}/") for name in sorted(names)}

    @property
    def mask(self) -> dict[str, Tensor]:
        """The one mask of this variant."""
        (mask,) = self.masks.values()
        return mask

    def _mask(self, prefix: str) -> dict[str, Tensor]:
        return {name: mask.bool() for name, mask in self.own(prefix).items() if name.endswith(".weight")}


def read_cases(folder: Path) -> list[Case]:
    """Every variant of every file of a folder. Raises FolderFault, with one sentence that names all files at fault."""
    if not folder.is_dir():
        raise FolderFault(f"{folder} is no folder")
    paths = sorted(folder.glob("*.json"))
    if faults := [f"{path.name} {fault}" for path in paths if (fault := _fault(path))]:
        raise FolderFault(f"{folder} holds files that are no golden cases: {'; '.join(faults)}")
    if not paths:
        raise FolderFault(f"{folder} holds no golden cases: looked for FAMILY__NAME.json beside FAMILY__NAME.npz")
    return [Case(path, variant) for path in paths for variant in _meta(path)["results"]]


def _fault(path: Path) -> str | None:
    try:
        variants = _meta(path)["results"].keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        return 'is no JSON object with an object "results"'
    try:
        names = [name.removeprefix("res/") for name in _arrays(path) if name.startswith("res/")]
    except (OSError, ValueError):
        return "has no readable file of arrays beside it"
    without = [variant for variant in variants if not any(name.startswith(f"{variant}/") for name in names)]
    return f"has no arrays for {', '.join(without)}" if without else None


@cache
def _meta(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files if name != "meta_json"}
