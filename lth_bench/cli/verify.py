"""`lth-bench verify`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import DataRoot, PluginFiles, RunDirectories, Workers
from lth_bench.cli.run import run
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import Refused, out, print_paths, refuse, say, silence

if TYPE_CHECKING:
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.storage.record import Identity, Record
    from lth_bench.storage.verified import How

SOME_FAILED = 1  # the exit status of a run


def verify(
    directories: RunDirectories,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Count and evaluate the tickets of the directory anew.")
    ] = False,
    rerun: Annotated[
        int, typer.Option("--rerun", min=0, metavar="N", help="Run so many experiments, drawn at random, again.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Decides which experiments --rerun draws.")] = 0,
    again: Annotated[
        Path, typer.Option("--again", metavar="DIR", help="Where --rerun runs them, a folder for each directory.")
    ] = Path("runs", "again"),
    note: Annotated[
        str | None,
        typer.Option("--note", metavar="NAME", help="Seal what was confirmed, under your name, in DIR/verified/."),
    ] = None,
    data: DataRoot = None,
    workers: Workers = None,
    plugin: PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON, by directory.")] = False,
) -> None:
    """Check that the plan, records and tables of run directories agree with each other; a line for each fault.

    That a number is what a training gives, only --rerun shows; that it is what a ticket gives, --evaluate. The exit
    status is 1 if there are faults.
    """
    from lth_bench.errors import FileFault

    if note is not None and not (evaluate or rerun):
        refuse(["--note seals what --evaluate or --rerun has confirmed; give one of them"])
    plugins = installed_plugins(plugin)  # and none of the directories, which may be those of strangers
    found: dict[str, list[str]] = {}
    nothing: list[str] = []
    for directory in directories:
        confirmed: dict[str, How] = {}
        try:
            faults = faults_with_tables(directory, plugins, data)
            if evaluate and not faults:
                faults, confirmed = evaluated(directory, plugins, data)
            if rerun and not faults:
                drawn, place = _drawn(directory, rerun, seed), again / directory.resolve().name
                _run_again(directory, drawn, plugins, place, data, workers, plugin)
                faults, more = _compared(directory, drawn, place)
                confirmed |= more
            if note is not None and not faults:
                _write_note(directory, note, confirmed)
        except FileFault as error:
            nothing.append(str(error))
        else:
            found[str(directory)] = faults
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        for fault in (fault for faults in found.values() for fault in faults):
            say(out, fault)
        for name in (name for name, faults in found.items() if not faults):
            say(out, f"{name}: plan, records and tables agree")
    if nothing:
        refuse(nothing)
    if any(found.values()):
        raise typer.Exit(1)


def faults_with_tables(directory: Path, plugins: Plugins, data: Path | None) -> list[str]:
    """The faults of a run directory, or else of the tables beside its records. Raises FileFault without records."""
    from lth_bench.results.verification import faults_of

    return faults_of(directory, plugins, data) or _other_tables(directory)


def _other_tables(directory: Path) -> list[str]:
    """The tables beside the records that are not those of the records or, for overlaps, of masks."""
    from lth_bench.reports.leaderboards import FORMATS, formatted
    from lth_bench.results.frame import load
    from lth_bench.results.leaderboard import summarise
    from lth_bench.results.overlap import formatted_overlaps, overlap_path, overlaps

    there = {path: kind for kind in FORMATS if (path := directory / f"leaderboard.{kind}").exists()}
    overlap = overlap_path(directory)
    if not there and not overlap.exists():
        return []
    results = load(directory)
    boards = summarise(results.frame)
    wanted = {path: formatted(boards, kind) for path, kind in there.items()}
    if overlap.exists():
        wanted[overlap] = formatted_overlaps(overlaps(results))
    return [
        f"{path} is not the table that lth-bench report writes of these records"
        for path, text in wanted.items()
        if path.read_bytes() != text.encode()
    ]


def evaluated(directory: Path, plugins: Plugins, data: Path | None) -> tuple[list[str], dict[str, How]]:
    """In what the records are not of the tickets beside them, and which are. Raises FileFault without tickets."""
    import torch

    from lth_bench.errors import FileFault
    from lth_bench.running.context import Context
    from lth_bench.running.finished import finished
    from lth_bench.running.reevaluation import reevaluated
    from lth_bench.storage.records import record_path, ticket_path

    torch.set_num_threads(1)
    results = list(finished(directory))
    present = [one for one in results if ticket_path(directory, one.key).exists()]
    if not present:
        raise FileFault(f"no tickets in {directory}: --evaluate needs those of the run, in {directory / 'tickets'}")
    context = Context(plugins, data, torch.device("cpu"))
    faults = [f"{record_path(directory, one.key)}: {f}" for one in present for f in reevaluated(one, context)]
    say(out, f"{directory}: {len(present)} of {len(results)} results were evaluated again from their tickets")
    return faults, {} if faults else {one.key: "evaluated" for one in present}


def _drawn(directory: Path, count: int, seed: int) -> list[tuple[Identity, Record]]:
    """So many finished experiments, drawn at random."""
    from random import Random

    from lth_bench.running.standing import done

    results = list(done(directory))
    return Random(seed).sample(results, min(count, len(results)))


def _run_again(
    directory: Path,
    drawn: list[tuple[Identity, Record]],
    plugins: Plugins,
    again: Path,
    data: Path | None,
    workers: int | None,
    files: list[Path] | None,
) -> None:
    """Runs experiments a second time, into another directory; those that are there are kept."""
    suites: dict[str, list[str]] = defaultdict(list)
    for entry, _ in drawn:
        suites[entry.suite].append(entry.key)
    for suite, keys in suites.items():
        source, only = _source(directory, suite, plugins), f"key in {keys}"
        try:
            with silence():
                run(source, None, again, workers, data, only=only, no_report=True, plugin=files)
        except Refused as refused:
            refuse(refused.faults)
        except typer.Exit as end:
            if end.exit_code != SOME_FAILED:  # which their records say
                raise


def _compared(directory: Path, drawn: list[tuple[Identity, Record]], again: Path) -> tuple[list[str], dict[str, How]]:
    """In what records are not those of a second run, and which are; prints what came of each."""
    from lth_bench.results.reruns import compared
    from lth_bench.results.verification import described
    from lth_bench.storage.records import record_path

    faults: list[str] = []
    confirmed: dict[str, How] = {}
    for entry, record in drawn:
        one = compared(record, _again(again, record))
        say(out, f"{described(entry)}: {one.words}")
        if one.verdict == "other":
            faults.append(f"{record_path(directory, entry.key)}: {one.words}; the other run is in {again}")
        else:
            confirmed[entry.key] = one.verdict
    same, near = (list(confirmed.values()).count(how) for how in ("same", "near"))
    rest = f", {near} as near as chance allows elsewhere" if near else ""
    say(out, f"{directory}: of {len(drawn)} experiments that were run again, {same} gave the same bits{rest}")
    return faults, confirmed


def _write_note(directory: Path, by: str, confirmed: dict[str, How]) -> None:
    from datetime import UTC, datetime
    from importlib.metadata import version

    from lth_bench.storage.verified import write_verification

    now = datetime.now(UTC).isoformat(timespec="seconds")
    print_paths([write_verification(directory, by, now, version("lth-bench"), confirmed)])


def _source(directory: Path, suite: str, plugins: Plugins) -> str:
    """A suite as the directory has it: its name if it is the built-in one, beside which its weights are."""
    from lth_bench.storage.records import suite_copy

    copy = suite_copy(directory, suite)
    builtin = suite in plugins.suites and plugins.suites[suite].read_bytes() == copy.read_bytes()
    return suite if builtin else str(copy)


def _again(directory: Path, record: Record) -> Record:
    """The record of the second run of an experiment; one without a result if there is none."""
    from lth_bench.errors import FileFault
    from lth_bench.storage.record import RecordedError, failed
    from lth_bench.storage.records import read_record, record_path

    try:
        return read_record(record_path(directory, record.key))
    except FileFault as fault:
        return failed(record, RecordedError(kind="lost", message=str(fault), traceback=""))
