"""The commands `lth-bench store …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from lth_bench.cli.terminal import out, say

if TYPE_CHECKING:
    from lth_bench.storage.store import Store
    from lth_bench.storage.upkeep import Usage

app = typer.Typer(no_args_is_help=True, help="Look after a store of training segments.")

StorePlace = Annotated[Path, typer.Argument(metavar="DIR", help="A store, or a run directory that has one.")]


@app.command()
def du(place: StorePlace) -> None:
    """Show how many files a store has, and how large they are."""
    from lth_bench.storage.upkeep import usage

    _print(usage(_open(place)), "nothing is stored")


@app.command()
def gc(
    place: StorePlace,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Also remove the least recently used, to a size such as 5GB."),
    ] = None,
) -> None:
    """Remove what nothing needs; what --max-size removes is computed again on demand."""
    from lth_bench.running.limits import size
    from lth_bench.storage.upkeep import collect

    try:
        largest = None if max_size is None else size(max_size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-size") from error
    _print(collect(_open(place), largest), "nothing to remove")


@app.command()
def verify(place: StorePlace) -> None:
    """Read and check everything; set damaged files aside, and exit with status 1 if there were any.

    Of a run directory, its plan and records are read too; those that cannot be read are named and left alone.
    """
    from lth_bench.storage.records import faults
    from lth_bench.storage.upkeep import verify

    unreadable = faults(place)
    for fault in unreadable:
        say(out, fault)
    store = _open(place)
    bad = verify(store)
    _print(bad, "everything in the store is sound" if unreadable else "everything is sound")
    if bad.counts:
        out.print(f"set aside in {store.root / 'damaged'}; it is computed again on demand", soft_wrap=True)
    if bad.counts or unreadable:
        raise typer.Exit(1)


def _open(place: Path) -> Store:
    from lth_bench.storage.store import open_store

    return open_store(place)


def _print(files: Usage, nothing: str) -> None:
    if not files.counts:
        out.print(nothing)
        return
    table = Table("what", "files", "size", box=None)
    for kind, count in files.counts.items():
        table.add_row(kind, f"{count:,}", decimal(files.sizes[kind]))
    table.add_row("all", f"{sum(files.counts.values()):,}", decimal(sum(files.sizes.values())))
    out.print(table)
