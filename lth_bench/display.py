"""Progress: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Tell = Callable[[str, dict[str, Any]], None]


def title(identity: dict[str, Any]) -> str:
    """An experiment in a few words."""
    e = identity["experiment"]
    return f"{identity['label']} · {e['model']['name']} · {e['dataset']['name']} · {e['sparsity']:g} · seed {e['seed']}"


@contextmanager
def bar(console: Console, total: int) -> Iterator[Tell]:
    """A progress bar with what is running now; failures stay on the screen."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    running: dict[str, str] = {}
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)

        def tell(event: str, identity: dict[str, Any]) -> None:
            if event == "start":
                running[identity["key"]] = title(identity)
            else:
                running.pop(identity["key"], None)
                progress.advance(task)
            if event not in ("start", "done"):
                progress.print(f"[red]{event}[/red] {escape(title(identity))}")
            progress.update(task, description=escape(next(iter(running.values()), "")))

        yield tell


@contextmanager
def lines(total: int) -> Iterator[Tell]:
    """A line for every experiment that ends."""
    started, finished = time.monotonic(), 0

    def tell(event: str, identity: dict[str, Any]) -> None:
        nonlocal finished
        if event == "start":
            return
        finished += 1
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{finished:>4}/{total} {minutes:>3}:{seconds:02d} {event}: {title(identity)}", flush=True)  # noqa: T201

    yield tell
