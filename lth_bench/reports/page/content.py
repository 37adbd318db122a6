"""The content of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lth_bench.results.frame import Results
from lth_bench.results.leaderboard import Leaderboards, Place


@dataclass(frozen=True)
class Content:
    """What a page shows; `suites` holds TOML texts by the names of their suites, as far as they exist.

    A figure has a caption, a kind, a leaderboard and the text of an SVG, in which groups with the id `method-N`
    belong to method N of the leaderboards, counted from 0 in the order of their rows.
    """

    results: Results
    leaderboards: Leaderboards
    verdicts: pd.DataFrame
    badges: pd.DataFrame
    figures: Sequence[tuple[str, str, Place, str]]
    suites: Mapping[str, str]
