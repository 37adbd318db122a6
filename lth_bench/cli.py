"""The command `lth-bench`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lth_bench import store_command

if TYPE_CHECKING:
    from lth_bench.board import Board, Tell
    from lth_bench.limits import Limits
    from lth_bench.plugins import Plugins
    from lth_bench.suite import Planned
    from lth_bench.sweep import Crew, Sweep

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compares pruning methods on the same models, data and recipes.",
)
app.add_typer(store_command.app, name="store")
PLAIN_WIDTH = 140  # of tables that go into a file or a pipe
out = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, highlight=False)


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Format(StrEnum):
    md = "md"
    csv = "csv"
    json = "json"
    tex = "tex"


class Kind(StrEnum):
    pruners = "pruners"
    controls = "controls"
    models = "models"
    datasets = "datasets"
    recipes = "recipes"
    suites = "suites"


SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A built-in suite or the path of a .toml file.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="LTH_BENCH_DATA", help="The folder that holds data sets."),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="EXPR",
        help="Only experiments for which this holds, and what they need, for instance "
        "\"pruner == 'imp' and sparsity > 0.9\"; "
        "columns: dataset, model, recipe, pruner, control, label, sparsity, seed, key.",
    ),
]


def main() -> None:
    """The entry point: unusable input ends with exit status 2 and a sentence."""
    from lth_bench.datasets import DataError
    from lth_bench.files import FileFault

    try:
        app()
    except (FileFault, DataError, OSError) as error:
        _refuse([str(error)])


def _version(wanted: bool) -> None:
    if wanted:
        from lth_bench import __version__

        out.print(f"lth-bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    suite: SuiteName,
    directory: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run directory; by default runs/SUITE.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes; by default one a processor.")
    ] = None,
    data: DataRoot = None,
    device: Annotated[Device, typer.Option(help="Where networks are trained.")] = Device.auto,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch data sets that are absent into the folder of --data.")
    ] = False,
    loaders: Annotated[
        int, typer.Option(min=0, metavar="N", help="Processes a worker has to read images that do not fit memory.")
    ] = 0,
    only: Only = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="LTH_BENCH_STORE", help="Where training is shared; by default OUT/store."),
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Compute everything, share nothing.")] = False,
    time_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="End an experiment that takes longer, such as 90s, 10m, 2h.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="End an experiment that wants more memory, such as 8GB.")
    ] = None,
    stall_limit: Annotated[
        str, typer.Option(metavar="TIME", help="End an experiment that shows no progress for so long.")
    ] = "30m",
) -> None:
    """Run what is missing of a suite, then print its leaderboard."""
    from lth_bench.records import identity, write_plan
    from lth_bench.sweep import Crew, Sweep, default_workers, missing

    limits = _limits(time_limit, memory_limit, stall_limit)
    plugins = _plugins()
    name, planned = _planned(suite, plugins)
    directory = directory or Path("runs", name)
    chosen = _filtered(planned, only)
    identities = [identity(name, item) for item in chosen]
    todo = missing(directory, identities)
    if todo:
        if download:
            _download(plugins, chosen, data)
        shared = None if no_store else store or directory / "store"
        sweep = Sweep(directory, data, device.value, shared, limits, loaders)
        crew = Crew(sweep)
        try:
            found = crew.check(todo)
            if found["faults"]:
                _refuse(found["faults"])
            write_plan(directory, name, planned)
            crew.count = min(workers or (1 if found["device"] == "cuda" else default_workers()), len(todo))
            crowd = f"{crew.count} worker{'s' * (crew.count > 1)}"
            what = f"{len(todo)} of {len(identities)} experiments to run on {crowd}"
            out.print(f"{name}: {what}, into {directory}/")
            with _display(len(todo)) as tell:
                _work(sweep, sweep.board(todo), crew, tell)
        finally:
            crew.dismiss()
    else:
        out.print(f"{name}: all {len(identities)} experiments are already in {directory}/")
    _finish(directory, {i["key"] for i in identities})


@app.command()
def plan(
    suite: SuiteName,
    directory: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run directory; by default runs/SUITE.")
    ] = None,
    only: Only = None,
) -> None:
    """Show what a suite would run, and how much."""
    from lth_bench.sweep import status

    name, planned = _planned(suite, _plugins())
    directory = directory or Path("runs", name)
    rows: dict[tuple[str, ...], list[Planned]] = {}
    for item in _filtered(planned, only):
        e = item.experiment
        recipe = f"{item.recipe}, {e.recipe.duration}"
        rows.setdefault((e.model.name, e.dataset.name, item.label, recipe), []).append(item)
    table = Table("model", "data", "method", "recipe", "sparsities", "seeds", "experiments", "done", box=None)
    total = done = 0
    for place, items in rows.items():
        finished = sum(status(directory, item.experiment.key) == "done" for item in items)
        total, done = total + len(items), done + finished
        sparsities = " ".join(f"{s:g}" for s in sorted({item.experiment.sparsity for item in items}))
        seeds = " ".join(map(str, sorted({item.experiment.seed for item in items})))
        table.add_row(*map(escape, place), sparsities, seeds, str(len(items)), str(finished))
    out.print(table)
    out.print(
        f"\n{name}: {total} experiments, {done} of them done in {directory}/, {total - done} to run; "
        "each trains for its recipe's duration at least once, iterative methods once a round."
    )


@app.command()
def leaderboard(
    directory: RunDirectory,
    format: Annotated[Format | None, typer.Option(help="Print the table in this format instead.")] = None,
) -> None:
    """Print the leaderboard of a run directory."""
    from lth_bench.display import print_leaderboard
    from lth_bench.leaderboard import formatted, summary
    from lth_bench.results import results

    table = summary(results(directory))
    if format is None:
        print_leaderboard(out, table)
    else:
        sys.stdout.write(formatted(table, format.value))


@app.command()
def report(
    directory: RunDirectory,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; by default DIR/report.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write the tables; by default the run directory."),
    ] = None,
) -> None:
    """Write the tables, the figures and a Markdown report of a run directory."""
    from lth_bench.report import write_report, write_tables
    from lth_bench.results import load

    found = load(directory)
    _print_paths([*write_tables(found, tables or directory), *write_report(found, folder or directory / "report")])


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List what the installed plugins offer, and the plugins that could not be loaded."""
    from lth_bench.display import about

    plugins = _plugins()
    registry = getattr(plugins, kind.value)
    table = Table("name", "from", "what it is", box=None)
    for name in registry:
        source = registry.sources[name]
        table.add_row(name, f"{source.distribution} {source.version}", escape(about(registry[name])))
    out.print(table)
    if kind is Kind.models:
        out.print("\nand every model of timm: python -c 'import timm; print(*timm.list_models(), sep=\"\\n\")'")


@app.command()
def status(directory: RunDirectory) -> None:
    """Show what is done, running and failed in a run directory, and what the next run would do again."""
    from lth_bench.display import print_state
    from lth_bench.state import examine

    print_state(out, examine(directory))


@app.command()
def doctor(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of timm or of a plugin.")],
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="NAME=VALUE", help="An argument, such as stem=cifar or keep=['first']; repeatable."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME[=PATH]", help="Its images and classes; by default noise of 32×32 in 10 classes."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="A recipe, for its initial weights.")] = None,
    data: DataRoot = None,
) -> None:
    """Tell whether a model is fit to be pruned at initialisation, and what would mend it (status 1: it is not)."""
    from lth_bench.consultation import consult
    from lth_bench.display import print_findings

    try:
        found = consult(_plugins(), model, options or [], dataset, recipe, data)
    except (LookupError, ValueError) as error:
        _refuse(str(error).splitlines())
    print_findings(out, found)
    if found.findings.reasons:
        raise typer.Exit(1)


def _limits(time: str | None, memory: str | None, stall: str) -> Limits:
    from lth_bench.limits import Limits, seconds, size

    try:
        return Limits(
            time=None if time is None else seconds(time),
            memory=None if memory is None else size(memory),
            stall=seconds(stall),
        )
    except ValueError as error:
        _refuse([f"a limit cannot be read: {error}"])


def _work(sweep: Sweep, board: Board, crew: Crew, tell: Tell) -> None:
    """Runs a sweep; the first Ctrl-C or SIGTERM ends it in good order, the second at once."""
    from lth_bench.interrupts import stopping
    from lth_bench.sweep import run_all

    with stopping(board, lambda text: err.print(text, markup=False, soft_wrap=True)) as received:
        run_all(sweep, board, crew, tell)
    if received:
        text = f"\nStopped; what was finished is kept in {sweep.directory}/, the same command goes on from there."
        err.print(text, markup=False, soft_wrap=True)
        raise typer.Exit(128 + received[0])


def _download(plugins: Plugins, planned: list[Planned], root: Path | None) -> None:
    """Fetches the data sets of these experiments, so far as they can be fetched and are not there."""
    from lth_bench.site import dataset_named

    if root is None:
        _refuse(["--download wants to know where to: give --data DIR or LTH_BENCH_DATA"])
    for entry in {str(item.experiment.dataset): item.experiment.dataset for item in planned}.values():
        fetch = dataset_named(plugins.datasets, entry).download
        if fetch is not None:
            out.print(f"fetching {entry.name} into {root}/", markup=False, soft_wrap=True)
            fetch(root)


def _plugins() -> Plugins:
    from lth_bench.plugins import load_plugins

    plugins = load_plugins()
    for broken in plugins.broken:
        source = broken.source
        err.print(
            f"plugin {source.plugin!r} of {source.distribution} could not be loaded: {broken.reason}",
            style="yellow",
            markup=False,
        )
    return plugins


def _planned(suite: str, plugins: Plugins) -> tuple[str, list[Planned]]:
    from lth_bench.suite import SuiteError, plan, read_suite

    try:
        name, content = read_suite(suite, plugins)
        return name, plan(content, plugins)
    except SuiteError as error:
        _refuse(error.faults)


def _filtered(planned: list[Planned], only: str | None) -> list[Planned]:
    if only is None:
        return planned
    import pandas as pd

    frame = pd.DataFrame([_columns(item) for item in planned])
    try:
        kept = frame.query(only).index
    except Exception as error:
        _refuse([f"--only {only!r}: {error}; columns: {', '.join(frame.columns)}"])
    if kept.empty:
        _refuse([f"--only {only!r} leaves none of the {len(planned)} experiments"])
    chosen = {planned[index].experiment.key for index in kept}
    chosen |= {base.key for index in kept if (base := planned[index].experiment.base)}
    return [item for item in planned if item.experiment.key in chosen]


def _columns(item: Planned) -> dict[str, Any]:
    e = item.experiment
    return {
        "dataset": e.dataset.name,
        "model": e.model.name,
        "recipe": item.recipe,
        "pruner": e.pruner.name,
        "control": e.control.name if e.control else "",
        "label": item.label,
        "sparsity": e.sparsity,
        "seed": e.seed,
        "key": e.key,
    }


def _display(total: int) -> Any:
    from lth_bench.display import bar, lines

    return bar(out, total) if out.is_terminal else lines(total)


def _finish(directory: Path, keys: set[str]) -> None:
    from lth_bench.display import print_leaderboard
    from lth_bench.leaderboard import summary
    from lth_bench.report import write_report, write_tables, written
    from lth_bench.results import load, shared

    found = load(directory)
    frame = found.frame
    print_leaderboard(out, summary(frame))
    computed, charged = shared(found.records)
    if computed < charged:
        out.print(f"Training: {computed:,} steps computed of {charged:,} charged, the rest was shared.\n")
    if paths := written(directory):
        _print_paths(paths)
    else:
        _print_paths([*write_tables(found, directory), *write_report(found, directory / "report")])
    bad = frame[frame["key"].isin(keys) & (frame["status"] != "done")]
    words = {record["key"]: record["error"]["message"] for record in found.records if "error" in record}
    for row in bad.itertuples():
        why = " ".join(words.get(str(row.key), "no record").split())[:300]
        place = f"{row.method}, sparsity {row.asked}, seed {row.seed}"
        record = directory / "records" / f"{row.key}.json"
        err.print(f"{row.status}: {place}: {why}; see {record}", markup=False, soft_wrap=True)
    if len(bad):
        raise typer.Exit(1)


def _print_paths(paths: list[Path]) -> None:
    out.print("Written:")
    for path in paths:
        out.print(f"  {path}", markup=False, soft_wrap=True)


def _refuse(faults: list[str]) -> NoReturn:
    for fault in faults:
        err.print(f"lth-bench: {fault}", style="red", markup=False, soft_wrap=True)
    sys.exit(2)
