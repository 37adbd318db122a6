"""`lth-bench export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import DataRoot, PluginFiles
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import out, print_paths, refuse, say

if TYPE_CHECKING:
    from lth_bench.export.package import Package

SUFFIX = ".safetensors"


def export(
    what: Annotated[
        str, typer.Argument(metavar="KEY|TICKET", help="A key, a unique beginning of one, or a file of DIR/tickets.")
    ],
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where to write; ends in .safetensors.")],
    directory: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="The run directory that KEY is looked for in.")
    ] = None,
    thin: Annotated[
        bool, typer.Option("--thin", help="Also the network without its removed channels, as ONNX and .pt2.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also the masked network as ONNX.")] = False,
    data: DataRoot = None,
    plugin: PluginFiles = None,
) -> None:
    """Write the final network of an experiment and its masks, for use elsewhere."""
    from lth_bench.errors import ModelError
    from lth_bench.export.package import pack
    from lth_bench.storage.files import publish

    _check_place(to, what)
    try:
        package = pack(what, directory, data, installed_plugins(plugin))
        if thin:
            package.add_thin()
        if onnx:
            package.add_onnx()
        lines = package.lines(to)
    except (ModelError, LookupError, ValueError) as error:
        refuse([str(error)])
    paths = {to.with_name(f"{to.stem}{ending}"): content for ending, content in package.files.items()}
    for path, content in paths.items():
        publish(path, content)
    print_paths(list(paths))
    _tell(package, lines)


def _check_place(to: Path, what: str) -> None:
    """Ends the program where the network cannot be written."""
    if to.suffix != SUFFIX:
        refuse([f"--to {to} does not end in {SUFFIX}, the form in which networks are written"])
    folder = to.absolute().parent
    if folder.name == "tickets" and (folder.parent / "records").is_dir():
        refuse([f"--to {to} lies among the tickets of a run directory, which exports must not replace"])


def _tell(package: Package, lines: list[str]) -> None:
    for note in package.notes:
        say(out, note)
    out.print("\nIn Python:")
    for line in lines:
        say(out, line)
