"""`lth-bench doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lth_bench.cli.arguments import DataRoot, PluginFiles
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import out, refuse
from lth_bench.experiments.choices import label
from lth_bench.pruning.allocation import SPARSITIES

if TYPE_CHECKING:
    from lth_bench.cli.consultation import Consultation
    from lth_bench.pruning.doctor import Findings


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
    plugin: PluginFiles = None,
) -> None:
    """Tell whether a model is fit to be pruned at initialisation, and what would mend it (status 1: it is not)."""
    from lth_bench.cli.consultation import Question, consult

    plugins = installed_plugins(plugin)
    try:
        found = consult(Question(model, options or [], dataset, recipe), plugins, data)
    except (LookupError, ValueError) as error:
        refuse(str(error).splitlines())
    print_findings(out, found)
    if found.findings.reasons:
        raise typer.Exit(1)


def print_findings(console: Console, found: Consultation) -> None:
    """Prints what the doctor found, layer by layer, the verdict, and what would mend the model."""
    table = Table("layer", "shape", title=Text(f"{label(found.model)} on {found.images}"), box=SIMPLE_HEAD)
    columns = ("weights", "SNIP = 0", "GraSP = 0", *(f"left at {sparsity:.0%}" for sparsity in SPARSITIES))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for layer in found.findings.layers:
        shares = ["–" if share is None else f"{share:.1%}" for share in (layer.snip_zeros, layer.grasp_zeros)]
        left = [Text(f"{count:,}", "" if count else "red") for count in layer.surviving]
        shape = "×".join(map(str, layer.shape))
        table.add_row(Text(layer.name), shape, f"{layer.weights:,}", *shares, *left)
    console.print(table)
    for line in _facts(found.findings):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"\n{verdict(found)}", markup=False, soft_wrap=True)


def _facts(findings: Findings) -> Iterator[str]:
    """The lines below the table of layers."""
    size = "none" if findings.feature_map is None else "×".join(map(str, findings.feature_map))
    yield f"{findings.weights:,} prunable weights; last feature map: {size}"
    for place, sparsity in enumerate(SPARSITIES):
        left = sum(layer.surviving[place] for layer in findings.layers)
        emptied = [layer.name for layer in findings.layers if not layer.surviving[place]]
        yield (
            f"of SNIP's scores, a global threshold at {sparsity:.0%} leaves {left / findings.weights:.1%} above zero, "
            f"and nothing in {len(emptied)} of {len(findings.layers)} layers{_named(emptied)}"
        )
    for sparsity in SPARSITIES:
        if dense := [layer.name for layer in findings.layers if sparsity in layer.dense]:
            yield f"ERK at {sparsity:.0%} leaves dense what has fewer weights than it asks for{_named(dense)}"
    if findings.left_out:
        count = sum(findings.left_out.values())
        share = f"{count:,} matrix weights ({count / (count + findings.weights):.1%} of all)"
        yield f"no method prunes {share}, and no sparsity counts them{_named(list(findings.left_out))}"
    if findings.dense:
        yield f"kept dense, layers: {len(findings.dense)}{_named(findings.dense)}"
    if findings.zeros:
        yield f"starting at zero, weights and norm scales: {len(findings.zeros)}{_named(findings.zeros)}"
    if any(layer.grasp_zeros is None for layer in findings.layers):
        yield "no GraSP scores: torch has no second derivative of this network"


def _named(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""


def verdict(found: Consultation) -> str:
    """The verdict, and a second line with the arguments that would mend the model."""
    if not found.findings.reasons:
        return f"Fit to be pruned at initialisation: {found.model.name}"
    line = f"Not fit to be pruned at initialisation: {'; '.join(found.findings.reasons)}."
    if found.remedied is None:
        return line
    options = " ".join(f"--with {name}={str(value).lower()}" for name, value in found.findings.remedies.items())
    rest = "; ".join(found.remedied.reasons)
    return f"{line}\nWith {options}: {f'still not fit: {rest}' if rest else 'fit'}."
