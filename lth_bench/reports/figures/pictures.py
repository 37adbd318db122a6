"""All figures of a run directory, and their files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lth_bench.machine import processors
from lth_bench.reports import escaping
from lth_bench.reports.figures.kept import keep, kept, shown
from lth_bench.reports.figures.kinds import KINDS
from lth_bench.reports.figures.style import FILES, REPORT, Mark, Setting, marks, write
from lth_bench.reports.figures.view import View
from lth_bench.results.frame import BLOCK, Results, dense_runs
from lth_bench.results.leaderboard import Leaderboards, Place
from lth_bench.results.statistics import mean_interval
from lth_bench.storage.files import remove
from lth_bench.storage.record import Record

Overlaps = Mapping[tuple[str, str, str, float], pd.DataFrame]
"""By data set, model, recipe and target: how far two methods' masks overlap above chance, a row and a column for each.

On the diagonal that of different seeds of a method; NaN where it is not known.
"""


@dataclass(frozen=True)
class Picture:
    """A figure with its kind, its leaderboard, the stem of its files, its caption, and a hash of what it shows."""

    kind: str
    block: Place
    stem: str
    caption: str
    shows: str
    draw: Callable[[], Figure]


def pictures(
    results: Results,
    leaderboards: Leaderboards,
    overlaps: Overlaps | None,
    setting: Setting = REPORT,
    methods: Collection[str] | None = None,
) -> list[Picture]:
    """All figures that have something to show, leaderboard by leaderboard; reads the records once.

    Only these methods, if some are given, and dense networks; methods look the same whichever are chosen.
    """
    drawn: list[Picture] = []
    taken: set[str] = set()
    for view in _views(results, leaderboards, overlaps or {}, methods):
        hashes = shown(view, setting, KINDS)
        for kind, figure_kind in KINDS.items():
            if sketched := figure_kind.sketch(view, setting):
                stem = unused(escaping.slug(f"{kind} {view.title}"), taken)
                caption, draw = sketched
                drawn.append(Picture(kind, view.block, stem, caption, hashes[kind], draw))
    return drawn


def prepare() -> None:
    """Loads the fonts and backends that a first figure needs; processes that are forked later have them."""
    figure = Figure()
    figure.text(0.5, 0.5, "0")
    for kind in FILES:
        figure.savefig(BytesIO(), format=kind)


def save(picture: Picture, folder: Path) -> list[Path]:
    """Writes a figure as PNG, SVG and PDF."""
    return write(picture.draw(), folder, picture.stem)


def save_all(drawn: list[Picture], folder: Path) -> list[list[Path]]:
    """Writes figures as PNG, SVG and PDF, unless their files are there; removes those of an earlier report."""
    figures = {picture.stem: picture.shows for picture in drawn}
    there = kept(folder, figures)
    _save_each([picture for picture in drawn if picture.stem not in there], folder)
    if figures:
        keep(folder, figures)
    saved = [[folder / f"{picture.stem}.{kind}" for kind in FILES] for picture in drawn]
    kinds = tuple(f"{kind}-" for kind in (*KINDS, "analysis"))
    ours = {path for kind in FILES for path in folder.glob(f"*.{kind}") if path.name.startswith(kinds)}
    for path in ours.difference(*saved):
        remove(path)
    return saved


def _save_each(drawn: list[Picture], folder: Path) -> None:
    """Saves pictures on all processors where processes can be forked: a picture cannot be sent to another process."""
    workers = min(len(drawn), processors())
    if workers < 2 or "fork" not in get_all_start_methods():
        for picture in drawn:
            save(picture, folder)
        return
    with ProcessPoolExecutor(workers, get_context("fork"), _inherited.append, ((drawn, folder),)) as pool:
        list(pool.map(_save_inherited, range(len(drawn))))  # raises what a process has raised


_inherited: list[tuple[list[Picture], Path]] = []


def _save_inherited(number: int) -> None:
    drawn, folder = _inherited[-1]
    save(drawn[number], folder)


def unused(stem: str, taken: set[str]) -> str:
    """A stem that is not taken, which it is then."""
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem[:58]}-{number}"
    taken.add(name)
    return name


def _views(
    results: Results, leaderboards: Leaderboards, overlaps: Overlaps, methods: Collection[str] | None
) -> Iterator[View]:
    every = leaderboards.rows
    shown_rows = every["method"].isin(list(methods or [])) | (every["target"] == 0) | (methods is None)
    boards = {block: rows[shown_rows[rows.index]] for block, rows in leaderboards.blocks()}
    targets = {block: _middle(rows) for block, rows in boards.items()}
    interval = mean_interval(leaderboards.samples.early_stop_step)
    early = pd.DataFrame({"lower": interval.lower, "upper": interval.upper}, index=every.index)
    looks = method_marks(every)
    measured = _measured(results, targets)
    titles = leaderboards.names()
    for block, rows in boards.items():
        there = {"", *rows["method"]}
        layers = {name: shares for name, shares in measured[block][0].items() if name in there}
        curves = {name: curve for name, curve in measured[block][1].items() if name in there}
        table = overlaps.get((*block, targets[block]), pd.DataFrame())
        kept = [name for name in table.index if name in there]
        yield View(block, titles[block], rows, looks, early, targets[block], layers, curves, table.loc[kept, kept])


def method_marks(rows: pd.DataFrame) -> dict[str, Mark]:
    """A mark for every method of all leaderboards."""
    methods = rows.groupby("method", sort=False).agg({"target": "max", "family": "first"})
    return marks(dict(zip(methods.index, methods["family"], strict=True)), set(methods.index[methods["target"] == 0]))


def _middle(rows: pd.DataFrame) -> float:
    """The middle one of the targets that at least half as many methods finished as any other target."""
    finished = rows[(rows["target"] > 0) & (rows["n"] > 0)].groupby("target").size()
    usual = finished.index[finished >= finished.max() / 2]
    return float(usual[len(usual) // 2]) if len(usual) else 0.0


Measured = tuple[dict[str, pd.DataFrame], dict[str, "pd.Series[float]"]]


def _measured(results: Results, targets: dict[Place, float]) -> dict[Place, Measured]:
    """Shares of weights left by layer, and learning curves, of each leaderboard's methods at its target."""
    places = _places(results.frame, targets)
    layers: dict[tuple[Place, str], list[dict[str, float]]] = defaultdict(list)
    curves: dict[tuple[Place, str], list[pd.Series[float]]] = defaultdict(list)
    for record in results.records():
        if place := places.get(record.key):
            layers[place].append(_shares_left(record))
            curves[place].append(_last_training(record))
    return {
        block: (
            {
                method: pd.DataFrame(seeds).dropna(axis="columns", how="all")
                for (at, method), seeds in layers.items()
                if at == block and method and any(seeds)
            },
            {method: _common(seeds) for (at, method), seeds in curves.items() if at == block},
        )
        for block in targets
    }


def _places(frame: pd.DataFrame, targets: dict[Place, float]) -> dict[str, tuple[Place, str]]:
    """The leaderboard and method of each record that is shown, by key; "" stands for the dense network."""
    done = frame[frame["status"] == "done"]
    dense = dense_runs(done)
    dense = dense[~dense["own_recipe"]].drop_duplicates([*BLOCK, "seed"]).assign(method="")
    blocks = pd.MultiIndex.from_frame(done[BLOCK])
    pruned = done[(done["asked"] > 0) & (done["asked"] == [targets[block] for block in blocks])]
    columns = ["key", *BLOCK, "method"]
    rows = pd.concat([pruned[columns], dense[columns]])
    return {key: ((dataset, model, recipe), method) for key, dataset, model, recipe, method in rows.to_numpy()}


def _shares_left(record: Record) -> dict[str, float]:
    """Shares of weights left by layer, in the order of the network."""
    counts = record.sparsity.layers if record.sparsity else {}
    order = [layer.name for layer in record.network.layers] if record.network else list(counts)
    return {name: counts[name].kept / counts[name].size for name in order if name in counts}


def _last_training(record: Record) -> pd.Series[float]:
    """Validation accuracies in per cent by step, since the step last went back, where the final sparsity held."""
    if record.curve is None or record.sparsity is None:
        return pd.Series(dtype=float)
    steps = record.curve.step
    back = [place for place in range(1, len(steps)) if steps[place] <= steps[place - 1]]
    start = back[-1] if back else 0
    final = np.array(record.curve.kept[start:]) == record.sparsity.mask
    values = 100 * np.array(record.curve.validation_accuracy[start:], dtype=float)
    return pd.Series(values[final], index=np.array(steps[start:])[final], dtype=float).dropna()


def _common(curves: list[pd.Series[float]]) -> pd.Series[float]:
    """Means at the steps at which every seed was measured."""
    return pd.concat(curves, axis="columns", join="inner").mean(axis="columns").sort_index()
