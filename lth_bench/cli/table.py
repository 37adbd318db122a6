"""The command `lth-bench table`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lth_bench.cli.arguments import AllRevisions, Equivalence, RunDirectory
from lth_bench.cli.terminal import finish, print_paths, refuse


class Layout(StrEnum):
    sparsities = "sparsities"
    models = "models"
    costs = "costs"


class PaperFormat(StrEnum):
    tex = "tex"
    md = "md"
    csv = "csv"
    html = "html"


def table(
    directory: RunDirectory,
    layout: Annotated[
        Layout, typer.Option(help="Methods by sparsities, by models at one sparsity, or by costs at one.")
    ] = Layout.sparsities,
    form: Annotated[PaperFormat, typer.Option("--format", help="What to write.")] = PaperFormat.tex,
    at: Annotated[
        float | None,
        typer.Option(metavar="SPARSITY", help="The sparsity of the layouts that show one; by default the usual one."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="NAMES", help='Only these methods, such as "IMP,SNIP"; dense networks stay.')
    ] = "",
    controls: Annotated[bool, typer.Option(help="Whether controls are shown.")] = True,
    published: Annotated[bool, typer.Option("--published", help="Add what papers report, below the methods.")] = False,
    average: Annotated[
        bool, typer.Option("--average", help="Add improvability, Elo and intervals over the models of layout models.")
    ] = False,
    equivalence: Equivalence = 0.0,
    all_revisions: AllRevisions = False,
    bib: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cite the papers of methods, and write a BibTeX file of them.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write to a file.")] = None,
) -> None:
    """Print tables for a paper, with their protocol in the caption; LaTeX needs booktabs, graphicx and longtable."""
    from lth_bench.cli.display import print_superseded
    from lth_bench.reports.formats.documents import DOCUMENTS
    from lth_bench.reports.methods import bibliography
    from lth_bench.reports.paper.layouts import tables
    from lth_bench.reports.paper.selection import RowSelection
    from lth_bench.results.frame import load
    from lth_bench.storage.files import publish

    if average and layout is not Layout.models:
        refuse([f"--average goes with the layout models, not with {layout.value}"])
    if at is not None and layout is Layout.sparsities:
        refuse(["--at goes with the layouts models and costs; sparsities shows all of them"])
    if bib is not None and form is not PaperFormat.tex:
        refuse([f"--bib goes with --format tex, not with {form.value}"])
    results = load(directory, all_revisions)
    print_superseded(results)
    selection = RowSelection(at, methods, controls, published, equivalence, average=average, cited=bib is not None)
    try:
        papers = tables(results, layout.value, selection)
        entries = bibliography(results.methods, papers) if bib else ""
    except ValueError as error:
        refuse([str(error)])
    if bib:
        publish(bib, entries.encode())
    text = DOCUMENTS[form.value](papers)
    if file is None:
        sys.stdout.write(text)
    else:
        publish(file, text.encode())
        print_paths([file])
    finish(results)
