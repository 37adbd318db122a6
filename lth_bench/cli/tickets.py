"""The commands `lth-bench tickets …`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from lth_bench.cli.arguments import RunDirectory
from lth_bench.cli.terminal import err, out, refuse, say

app = typer.Typer(no_args_is_help=True, help="Publish the masks of tickets beside records, and get those of others.")


@app.command()
def pack(
    directory: RunDirectory,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="BOARD", help="A board with these records; by default the directory itself."),
    ] = None,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where the files of masks/ will lie, if not beside the records.")
    ] = "",
) -> None:
    """Write the masks of the tickets of a run into masks/, compressed, and list them in masks.json.

    Weights stay behind: a run of the experiment gives them again. A ticket whose hash is not that of the board's record
    is named and left out, with exit status 1.
    """
    from lth_bench.errors import FileFault
    from lth_bench.running.standing import done
    from lth_bench.storage import zoo
    from lth_bench.storage.records import ticket_path

    board = to or directory
    parcels, faults, records = dict(zoo.read_zoo(board).masks), [], 0
    for item, record in done(board):
        path, records = ticket_path(directory, item.key), records + 1
        if record.ticket is None or not path.exists():
            continue
        try:
            parcels[item.key] = zoo.pack(zoo.ticket_masks(path, record.ticket.sha256), board)
        except FileFault as fault:
            faults.append(str(fault))
    if not parcels and not faults:
        refuse([f"no tickets in {directory} of the {records} results in {board}: there is nothing to pack"])
    zoo.write_zoo(board, zoo.Zoo(1, parcels, url))
    for text in faults:
        say(err, text, "red")
    files = {parcel.sha256: parcel.bytes for parcel in parcels.values()}
    say(out, f"{board}: masks of {len(parcels)} of {records} results in {len(files)} files, {_size(files.values())}")
    if faults:
        raise typer.Exit(1)


@app.command("list")
def list_(directory: RunDirectory) -> None:
    """Show which results have masks here, how large they are, and where the others lie."""
    from lth_bench.running.standing import done
    from lth_bench.storage import zoo

    listed = zoo.read_zoo(directory)
    table = Table("key", "method", "sparsity", "seed", "bytes", "where", box=None)
    for item, _ in done(directory):
        if parcel := listed.masks.get(item.key):
            here = zoo.parcel_path(directory, parcel).exists()
            experiment = item.experiment
            label = item.label + (f", {experiment.control.name}" if experiment.control else "")
            words = (f"{experiment.sparsity:g}", str(experiment.seed), f"{parcel.bytes:,}")
            table.add_row(item.key, label, *words, "here" if here else "elsewhere")
    if not table.row_count:
        refuse([f"{directory} lists no masks: there is no {zoo.zoo_path(directory)}, or none of its results is in it"])
    out.print(table)
    if listed.url:
        say(out, f"\nelsewhere: {listed.url}; lth-bench tickets fetch {directory} gets them")


@app.command()
def fetch(directory: RunDirectory) -> None:
    """Get the masks that a board lists and that lie at another place; each is checked against its hash."""
    from lth_bench.storage import zoo

    got = list(zoo.fetch(directory))
    if got:
        say(out, f"{directory}: {len(got)} files, {_size(path.stat().st_size for path in got)}")
    else:
        say(out, f"{directory}: all {len(zoo.read_zoo(directory).masks)} masks that it lists are here")


def _size(sizes: Iterable[int]) -> str:
    return decimal(sum(sizes))
