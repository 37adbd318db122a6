"""What a page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lth_bench.results.frame import Results
from lth_bench.results.leaderboard import Leaderboards, Place


@dataclass(frozen=True)
class Content:
    """What a page shows; `suites` are TOML texts by the names of their suites, and may be missing.

    `figures` have a caption, a kind, a leaderboard and the text of an SVG, in which groups with the id `method-N` are
    of the N-th method of the leaderboards, from 0, in the order of their rows.
    """

    results: Results
    leaderboards: Leaderboards
    verdicts: pd.DataFrame
    badges: pd.DataFrame
    figures: Sequence[tuple[str, str, Place, str]]
    suites: Mapping[str, str]
