"""Networks of the literature that timm does not have; plugins register them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PASSED_BY_TIMM = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}


def check(name: str, pretrained: bool, others: Mapping[str, Any], known: str) -> None:
    """Raises TypeError for parameters that a network does not have, and ValueError for pretrained weights."""
    if unknown := set(others) - PASSED_BY_TIMM:
        raise TypeError(f"{name} has no parameter {', '.join(sorted(unknown))}; known: {known}")
    if pretrained:
        raise ValueError(f"{name} has no pretrained weights")
