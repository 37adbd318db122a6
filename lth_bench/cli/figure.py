"""The command `lth-bench figure`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import AllRevisions, RunDirectories
from lth_bench.cli.terminal import finish, out, print_paths, refuse, say

if TYPE_CHECKING:
    from lth_bench.reports.figures.pictures import Picture
    from lth_bench.reports.figures.style import Setting
    from lth_bench.reports.report import Report

NARROWEST = 24.0  # times the size of text
LEAST, LARGEST = 7.0, 24.0  # points


class PictureKind(StrEnum):
    accuracy = "accuracy"
    pareto = "pareto"
    pareto_inference = "pareto-inference"
    curves = "curves"
    layers = "layers"
    overlap = "overlap"
    early_stop = "early-stop"


class PictureFormat(StrEnum):
    pdf = "pdf"
    svg = "svg"
    png = "png"


class Group(StrEnum):
    family = "family"
    none = "none"


def figure(
    directories: RunDirectories,
    kind: Annotated[PictureKind, typer.Option(help="What to draw.")] = PictureKind.accuracy,
    analysis: Annotated[str, typer.Option(metavar="NAME", help="Draw what this analysis found instead.")] = "",
    width: Annotated[
        str, typer.Option(metavar="LENGTH", help="The printed width: a number with in, cm, mm or pt (of TeX).")
    ] = "6.75in",
    methods: Annotated[
        str, typer.Option(metavar="NAMES", help='Only these methods, such as "IMP,SNIP"; dense networks stay.')
    ] = "",
    group: Annotated[Group, typer.Option(help="What shares a panel where there are many methods.")] = Group.family,
    title: Annotated[bool, typer.Option(help="Whether the figure has a title.")] = True,
    form: Annotated[PictureFormat | None, typer.Option("--format", help="By default that of FILE, or PDF.")] = None,
    font_size: Annotated[
        float, typer.Option(min=LEAST, max=LARGEST, metavar="POINTS", help="The printed size of all text.")
    ] = LEAST,
    file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write; of several leaderboards, each has its name added."),
    ] = None,
    all_revisions: AllRevisions = False,
) -> None:
    """Draw a figure for a paper at its printed width, with its fonts inside, and print a caption."""
    from lth_bench.cli.display import print_superseded
    from lth_bench.reports.figures.kinds import KINDS
    from lth_bench.reports.figures.pictures import pictures
    from lth_bench.reports.figures.style import Setting, content
    from lth_bench.reports.methods import named
    from lth_bench.reports.report import compare
    from lth_bench.results.merging import load_all
    from lth_bench.results.overlap import matrices
    from lth_bench.storage.files import publish

    setting = Setting(_inches(width, font_size), font_size, title, group is Group.family)
    ending = _ending(form, file)
    report = compare(load_all(directories, all_revisions))
    print_superseded(report.results)
    try:
        chosen = named(methods, list(dict.fromkeys(report.leaderboards.rows["method"]))) if methods else None
    except ValueError as error:
        refuse([f"--methods: {error}"])
    if analysis:
        drawn = _analysed(report, analysis, setting, chosen)
    else:
        drawn = pictures(report.results, report.leaderboards, matrices(report.overlaps), setting, chosen)
        drawn = [picture for picture in drawn if picture.kind == kind]
    if not drawn:
        among = " among these methods" if methods else ""
        where, needs = ", ".join(map(str, directories)), "a figure of its own" if analysis else KINDS[kind].needs
        refuse([f"there is nothing to draw as {analysis or kind} in {where}: that needs {needs}{among}"])
    paths = _paths(drawn, file, ending)
    for picture, path in zip(drawn, paths, strict=True):
        publish(path, content(picture.draw(), ending))
    print_paths(paths)
    for picture in drawn:
        say(out, picture.caption)
    finish(report.results)


def _analysed(report: Report, name: str, setting: Setting, methods: list[str] | None) -> list[Picture]:
    """The figures of an analysis, of these methods if some are given; ends the program if there is no such analysis."""
    from lth_bench.reports.analyses import asked
    from lth_bench.reports.figures.analysed import pictures_of
    from lth_bench.results.analyses import analyses

    frame = report.results.frame
    if methods is not None:
        frame = frame[frame["method"].isin(methods) | (frame["asked"] == 0)].reset_index(drop=True)
    try:
        found = asked(analyses(replace(report.results, frame=frame)), name)
    except ValueError as error:
        refuse([str(error)])
    return [picture for drawn in pictures_of(found, report.leaderboards, setting).values() for picture in drawn]


def _inches(text: str, font_size: float) -> float:
    from lth_bench.reports.formats.venues import inches

    try:
        return inches(text, NARROWEST * font_size / 72, f" where text has {font_size:g} points")
    except ValueError as error:
        refuse([str(error)])


def _ending(form: PictureFormat | None, file: Path | None) -> str:
    """The format that is asked for, else that of the file's name, else PDF."""
    if form is not None:
        return form.value
    ending = file.suffix[1:].lower() if file else PictureFormat.pdf.value
    if ending not in list(PictureFormat):
        known = ", ".join(f".{known}" for known in PictureFormat)
        refuse([f"--out {file} does not end in one of {known}; name a --format"])
    return ending


def _paths(drawn: list[Picture], file: Path | None, ending: str) -> list[Path]:
    if file is None:
        return [Path(f"{picture.stem}.{ending}") for picture in drawn]
    if len(drawn) == 1:
        return [file]
    return [file.with_name(f"{file.stem}{picture.stem.removeprefix(picture.kind)}{file.suffix}") for picture in drawn]
