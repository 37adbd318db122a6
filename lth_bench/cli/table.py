"""The command `lth-bench table`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lth_bench.cli.terminal import finish, print_paths, refuse

Sources = Annotated[
    list[Path],
    typer.Argument(metavar="DIR...|FILE.toml", help="Run directories, or a file with these options as keys."),
]


def table(
    ctx: typer.Context,
    directories: Sources,
    columns: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="What stands across: sparsities, models, models*sparsities or costs."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="SPARSITIES", help='Only these, such as "90%,98%"; of models and costs one.')
    ] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="NAMES", help='Only these methods, such as "IMP,SNIP"; dense networks stay.')
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="NAMES|COLUMN", help="These methods first; or the best first by a sparsity or a column."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NEW", help="Another name for a method, a model or a data set; can be repeated."),
    ] = None,
    group: Annotated[str | None, typer.Option(metavar="family|none", help="Put methods below their families.")] = None,
    controls: Annotated[bool | None, typer.Option(help="Whether controls are shown.")] = None,
    published: Annotated[
        bool | None, typer.Option("--published", help="Add what papers report, below the methods.")
    ] = None,
    average: Annotated[
        bool | None, typer.Option("--average", help="Add improvability, Elo and intervals to the columns of models.")
    ] = None,
    analysis: Annotated[
        str | None, typer.Option(metavar="NAME", help="What this analysis found, in place of a leaderboard.")
    ] = None,
    equivalence: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Differences to the best mean that do not count.")
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option(metavar="ci|sd|none", help="Behind ±: half the 95% interval or the deviation of seeds."),
    ] = None,
    caption: Annotated[
        str | None,
        typer.Option(metavar="full|short|none", help="Short: without protocol. None: the rows alone, for your float."),
    ] = None,
    style: Annotated[
        str | None, typer.Option(metavar="VENUE", help="The width of neurips, icml, iclr, cvpr or ieee.")
    ] = None,
    width: Annotated[str | None, typer.Option(metavar="LENGTH", help="The width of the text, such as 3.25in.")] = None,
    star: Annotated[bool | None, typer.Option("--star", help="Across both columns of a page.")] = None,
    format: Annotated[str | None, typer.Option(metavar="tex|md|csv|html", help="What to write.")] = None,
    bib: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cite the papers of methods, and write a BibTeX file of them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file, whose name is also the table's label.")
    ] = None,
    all_revisions: Annotated[
        bool | None,
        typer.Option("--all-revisions", help="Also results of which a raised revision has taken the place."),
    ] = None,
) -> None:
    """Print tables for a paper, with their protocol in the caption; LaTeX needs booktabs, graphicx and longtable."""
    from lth_bench.cli.display import print_superseded
    from lth_bench.reports.formats.documents import document
    from lth_bench.reports.formats.venues import venue
    from lth_bench.reports.methods import bibliography
    from lth_bench.reports.paper.analysed import tables_of
    from lth_bench.reports.paper.choices import chosen
    from lth_bench.reports.paper.layouts import tables
    from lth_bench.results.merging import load_all
    from lth_bench.storage.files import publish

    options = {name: value for name, value in ctx.params.items() if name != "directories"}
    try:
        choices = chosen(directories, options)
        place = venue(choices.style, choices.width, choices.star)
    except ValueError as error:
        refuse(str(error).splitlines())
    results = load_all(choices.directories, choices.all_revisions, stand_apart=True)
    print_superseded(results)
    try:
        papers = tables_of(results, choices) if choices.analysis else tables(results, choices)
        entries = bibliography(results.methods, papers) if choices.bib else ""
    except ValueError as error:
        refuse([str(error)])
    if choices.bib:
        publish(choices.bib, entries.encode())
    text = document(papers, choices.form, place, is_bare=choices.caption == "none")
    if choices.out is None:
        sys.stdout.write(text)
    else:
        publish(choices.out, text.encode())
        print_paths([choices.out, *([choices.bib] if choices.bib else [])])
    finish(results)
