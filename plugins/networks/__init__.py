"""Networks of the literature that timm does not have, as modules; the plugins beside this register them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PASSED_BY_TIMM = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}


def check(name: str, pretrained: bool, others: Mapping[str, Any], known: str) -> None:
    """Refuses what timm passes on and these networks do not have: foreign parameters and pretrained weights."""
    if unknown := set(others) - PASSED_BY_TIMM:
        raise TypeError(f"{name} has no parameter {', '.join(sorted(unknown))}; known: {known}")
    if pretrained:
        raise ValueError(f"{name} has no pretrained weights")
