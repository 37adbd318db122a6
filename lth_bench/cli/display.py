"""What the commands print: progress, tables, and one line on each plugin."""

from __future__ import annotations

import dataclasses
import json
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from lth_bench.cli.terminal import err, say
from lth_bench.experiments.about import about
from lth_bench.experiments.choices import label
from lth_bench.experiments.experiment import without_defaults
from lth_bench.storage.record import STATUSES

if TYPE_CHECKING:
    from lth_bench.results.frame import Results
    from lth_bench.results.leaderboard import Leaderboards
    from lth_bench.running.queue import Tell
    from lth_bench.running.status import Surveyed
    from lth_bench.storage.record import Identity

QUIET = ("parked", "dropped", "stopped")  # other workers or the next run will finish the experiment


def title(identity: Identity) -> str:
    """An experiment in a few words."""
    e = identity.experiment
    model, dataset = identity.model_label or label(e.model), identity.dataset_label or label(e.dataset)
    return f"{identity.label} · {model} · {dataset} · {e.sparsity:g} · seed {e.seed}"


@contextmanager
def bar(console: Console, total: int) -> Iterator[Tell]:
    """A progress bar that names a running experiment; failures stay on the screen."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    running: dict[str, str] = {}
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)

        def tell(event: str, identity: Identity) -> None:
            if event == "start":
                running[identity.key] = title(identity)
            else:
                running.pop(identity.key, None)
            if event in STATUSES:
                progress.advance(task)
            if event not in ("start", "done", *QUIET):
                progress.print(Text.assemble((event, "red"), " ", title(identity)))
            progress.update(task, description=next(iter(running.values()), ""))

        yield tell


@contextmanager
def notebook_bar(total: int) -> Iterator[Tell]:
    """tqdm's bar, which works in notebooks and scripts; it counts the failures."""
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets it draws its bar in text
        from tqdm.auto import tqdm
    outcomes: Counter[str] = Counter()
    progress = tqdm(total=total, unit="experiment")

    def tell(event: str, identity: Identity) -> None:
        if event in STATUSES:
            outcomes[event] += 1
            progress.set_postfix({name: times for name, times in outcomes.items() if name != "done"}, refresh=False)
            progress.update()

    with progress:
        yield tell


@contextmanager
def lines(total: int) -> Iterator[Tell]:
    """Prints a line for every experiment that ends."""
    started, finished = time.monotonic(), 0

    def tell(event: str, identity: Identity) -> None:
        nonlocal finished
        if event in ("start", *QUIET):
            return
        finished += event in STATUSES
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{finished:>4}/{total} {minutes:>3}:{seconds:02d} {event}: {title(identity)}", flush=True)  # noqa: T201

    yield tell


def print_state(console: Console, surveyed: list[Surveyed]) -> None:
    """Prints how many experiments are in each state, and a line for each that is neither done nor missing."""
    from lth_bench.running.status import AGAIN, count

    table = Table("state", "experiments", "", box=None)
    for state, number in count(surveyed).items():
        table.add_row(state, f"{number:,}", AGAIN.get(state, ""))
    console.print(table)
    for item in surveyed:
        if item.state not in ("done", "missing"):
            name = title(item.identity) if item.identity else item.key
            say(console, f"{item.state}: {name}: {item.words[:300]}")


def print_leaderboard(console: Console, leaderboards: Leaderboards) -> None:
    """Prints leaderboards, a table for every data set, model and recipe."""
    from lth_bench.reports.formats.terminal import document
    from lth_bench.reports.leaderboards import tables

    for part in document(tables(leaderboards), console.width):
        console.print(part)


def origin(item: Any) -> str:
    """The title, family and paper of something registered, as far as it states them."""
    said = about(item)
    paper = said.paper
    links = (paper.cited, f"arXiv:{paper.arxiv}" * bool(paper.arxiv), paper.code) if paper else ()
    return " · ".join(filter(None, (said.title, said.family, *links)))


def summary(item: Any) -> str:
    """One line on something registered: its summary or docstring, and its parameters."""
    if isinstance(item, Path):
        try:
            return str(tomllib.loads(item.read_text(encoding="utf-8")).get("description", ""))
        except (OSError, ValueError) as error:
            return f"cannot be read: {error}"
    if hasattr(item, "summary"):
        return str(item.summary)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return ", ".join(f"{name} = {json.dumps(value)}" for name, value in without_defaults(item).items())
    text = (item.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    if not isinstance(item, type) or not dataclasses.is_dataclass(item):
        return text
    pairs = ((f.name, f.default) for f in dataclasses.fields(item))
    fields = ", ".join(name if default is dataclasses.MISSING else f"{name}={default!r}" for name, default in pairs)
    return f"{text} [{fields}]" if fields else text


def print_superseded(results: Results) -> None:
    """Says on stderr how many experiments a table leaves out as a raised revision has taken their place."""
    if results.superseded:
        text = f"{results.superseded} experiments of earlier revisions are not shown; --all-revisions shows them"
        say(err, text)
