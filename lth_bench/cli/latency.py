"""`lth-bench latency`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import DataRoot, Device, PluginFiles
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import err, finish, out, print_paths, refuse, say

if TYPE_CHECKING:
    import pandas as pd

    from lth_bench.experiments.plugins import Plugins
    from lth_bench.results.frame import Results
    from lth_bench.running.context import Context
    from lth_bench.speed.measuring import Terms

SHOWN = 10  # keys in one message


def latency(
    place: Annotated[str, typer.Argument(metavar="DIR|KEY", help="A run directory, or the key of one experiment.")],
    directory: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="The run directory that has the experiment KEY.")
    ] = None,
    methods: Annotated[
        str, typer.Option("--methods", "--method", metavar="NAMES", help='Only these methods, such as "IMP,SNIP".')
    ] = "",
    at: Annotated[
        str, typer.Option("--at", "--sparsity", metavar="SPARSITIES", help='Only these, such as "90%,98%".')
    ] = "",
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="thin, onnxruntime, onnxruntime-thin, csr, 2:4, or dense for the noise; can be repeated. By default "
            "all but dense.",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Images at a time; can be repeated. By default 1 and 64."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads of each engine.")] = 1,
    seconds: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="Time for each network; slow ones take at least 7 rounds.")
    ] = 10.0,
    device: Annotated[Device, typer.Option("--device", help="Where networks are computed.")] = Device.auto,
    data: DataRoot = None,
    file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table: FILE.md, FILE.csv or FILE.json.")
    ] = None,
    plugin: PluginFiles = None,
) -> None:
    """Measure how fast pruned networks are beside the dense one, engine by engine (status 1: some could not be).

    Of each method at each sparsity, the first seed is measured. Latencies are kept in DIR/latency/.
    """
    from lth_bench.cli.display import print_superseded
    from lth_bench.reports.formats.terminal import document
    from lth_bench.reports.latencies import FORMATS, formatted, tables
    from lth_bench.results.frame import load
    from lth_bench.results.latencies import latencies
    from lth_bench.storage.files import publish

    if file and file.suffix[1:] not in FORMATS:
        refuse([f"--out {file} does not end in one of {', '.join(f'.{form}' for form in FORMATS)}"])
    folder, key = _place(place, directory)
    terms = _terms(engine or [], batch or [1, 64], threads, seconds)
    results = load(folder, all_revisions=bool(key))
    print_superseded(results)
    keys = [key] if key else _keys(results, folder, methods, at)
    context = _context(installed_plugins(plugin), data, device)
    failures = [key for key in _told(keys, results) if not _measure(folder, key, context, terms)]
    rows = _just_measured(latencies(results), keys, context, terms)
    if file:
        publish(file, formatted(rows, file.suffix[1:]).encode())
        print_paths([file])
    else:
        for part in document(tables(rows), out.width):
            out.print(part)
    finish(results)
    if failures or rows["reason"].str.startswith(("refused", "failed")).any():
        sys.exit(1)


def _place(place: str, directory: Path | None) -> tuple[Path, str]:
    """The run directory, and the key if one experiment is meant; ends the program if there is no such thing."""
    from lth_bench.errors import FileFault
    from lth_bench.export.finding import find

    if directory is None and not Path(place).is_dir():
        refuse([f"there is no run directory {place}; of a single experiment, give its key and --from DIR"])
    if directory is None:
        return Path(place), ""
    try:
        return directory, find(place, directory).record.key
    except FileFault as fault:
        refuse([str(fault)])


def _terms(engines: list[str], batches: list[int], threads: int, seconds: float) -> Terms:
    """What is to be measured; ends the program for an engine that is unknown or not installed."""
    from lth_bench.machine import processors
    from lth_bench.speed.engines import ENGINES, USUAL
    from lth_bench.speed.measuring import Terms
    from lth_bench.speed.onnx_runtime import MISSING, is_installed

    if unknown := [name for name in engines if name not in ENGINES]:
        refuse([f"no engine {unknown[0]!r}; known: {', '.join(ENGINES)}"])
    if threads > processors():
        refuse([f"--threads {threads} is more than the {processors()} processors that this process may use"])
    if any(name.startswith("onnxruntime") for name in engines) and not is_installed():
        refuse([MISSING])
    names, sizes = dict.fromkeys(engines or USUAL), dict.fromkeys(batches)
    return Terms(list(names), list(sizes), threads, seconds)


def _keys(results: Results, directory: Path, methods: str, at: str) -> list[str]:
    """The first finished ticket of each method at each sparsity; ends the program if there are none."""
    from lth_bench.results.frame import METHOD
    from lth_bench.storage.reading import names
    from lth_bench.storage.records import ticket_path

    held = {name.partition(".")[0] for name in names(ticket_path(directory, "").parent)}
    frame = results.frame
    rows = frame[(frame["status"] == "done") & (frame["asked"] > 0) & (frame["control"] == "")]
    rows = rows[rows["key"].isin(held)]
    if rows.empty:
        refuse([f"no tickets of pruned networks in {directory}/tickets; run the suite first, or without removing them"])
    try:
        rows = _among(rows, methods, at)
    except ValueError as error:
        refuse([str(error)])
    if rows.empty:
        refuse([f"no tickets in {directory} of --methods {methods!r} at {at!r}"])
    return list(rows.sort_values("seed", kind="stable").drop_duplicates(METHOD).sort_index()["key"])


def _among(rows: pd.DataFrame, methods: str, at: str) -> pd.DataFrame:
    """The rows of these methods at these sparsities; raises ValueError for one that no ticket has."""
    from lth_bench.reports.methods import named
    from lth_bench.reports.paper.comparison import asked_sparsity

    known = sorted(rows["asked"].unique())
    wanted = [asked_sparsity(text, known) for text in filter(None, map(str.strip, at.split(",")))]
    chosen = named(methods, list(rows["method"].unique())) if methods else []
    rows = rows[rows["method"].isin(chosen)] if chosen else rows
    return rows[rows["asked"].isin(wanted)] if wanted else rows


def _context(plugins: Plugins, data: Path | None, device: Device) -> Context:
    import torch

    from lth_bench.running.context import Context

    there = torch.cuda.is_available()
    if device is Device.cuda and not there:
        refuse(["--device cuda: torch sees no CUDA device; take --device cpu"])
    kind = "cuda" if there and device is not Device.cpu else "cpu"
    return Context(plugins, data, torch.device(kind))


def _told(keys: list[str], results: Results) -> Iterator[str]:
    """The keys, each after a line on what is measured now."""
    rows = results.frame.set_index("key")
    for number, key in enumerate(keys, 1):
        row = rows.loc[key]
        say(err, f"{number}/{len(keys)} {row['method']} · {row['model']} · {row['dataset']} · {row['asked']:g}")
        yield key


def _measure(directory: Path, key: str, context: Context, terms: Terms) -> bool:
    """Measures a ticket; False if it cannot be, after a sentence on the reason."""
    from lth_bench.errors import FileFault, ModelError, UnknownName
    from lth_bench.speed.subjects import measure

    try:
        measure(directory, key, context, terms)
    except (FileFault, ModelError, UnknownName) as error:
        say(err, f"{key}: {error}", "red")
        return False
    return True


def _just_measured(rows: pd.DataFrame, keys: list[str], context: Context, terms: Terms) -> pd.DataFrame:
    """The rows of these tickets, engines and batch sizes on this machine."""
    from lth_bench.speed.measuring import machine

    here = machine(context.device, terms.threads)
    same = (rows["processor"] == here.processor) & (rows["device"] == here.device) & (rows["threads"] == here.threads)
    same &= (rows["torch"] == here.torch) & (rows["onnxruntime"] == here.onnxruntime)
    return rows[same & rows["key"].isin(keys) & rows["engine"].isin(terms.engines) & rows["batch"].isin(terms.batches)]
