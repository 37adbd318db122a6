"""The command `lth-bench observe`, and the observers that `lth-bench run --observe` names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lth_bench.cli.arguments import RunDirectory
from lth_bench.cli.selection import installed_plugins
from lth_bench.cli.terminal import err, out, refuse, say

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Choice
    from lth_bench.experiments.plugins import Plugins


def observe(
    directory: RunDirectory,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help='Trackers, such as tensorboard or "mlflow uri=mlruns".'),
    ],
) -> None:
    """Show the finished experiments of a run directory in a tracker, as if they had just been run."""
    plugins = installed_plugins()
    choices = chosen_observers(names, plugins)
    for choice in choices:
        _replay(directory, choice, plugins)


def _replay(directory: Path, choice: Choice, plugins: Plugins) -> None:
    from lth_bench.experiments.choices import instantiate
    from lth_bench.running.observing import Audience, reason
    from lth_bench.running.standing import done

    finished = list(done(directory)) if directory.is_dir() else []
    if not finished:
        refuse([f"no experiment in {directory} is finished; run its suite first"])
    try:
        audience = Audience(instantiate(plugins.observers, choice.name, choice.arguments))
        for identity, record in finished:
            audience.replay(directory, identity, record)
    except Exception as error:
        say(err, f"observer {choice.name!r} has failed: {reason(error)}", "red")
        raise typer.Exit(1) from error
    out.print(f"{choice.name}: {len(finished)} experiments of {directory}/", markup=False)


def chosen_observers(texts: list[str], plugins: Plugins) -> tuple[Choice, ...]:
    """The observers that are named, with their options; ends the program if one is unknown or cannot be used."""
    found: list[Choice] = []
    for text in texts:
        if (chosen := _chosen(text, plugins)) not in found:
            found.append(chosen)
    return tuple(found)


def _chosen(text: str, plugins: Plugins) -> Choice:
    import shlex

    from lth_bench.errors import UnknownName
    from lth_bench.experiments.choices import assigned, choice

    try:
        name, *options = shlex.split(text) or [""]
        chosen = choice(
            plugins.observers, name, dict(assigned(option, "uri=mlruns", "an option") for option in options)
        )
    except (UnknownName, ValueError) as error:
        refuse([f"observer {text!r}: {line}" for line in str(error).splitlines()])
    for module, package in getattr(plugins.observers[name], "needs", {}).items():
        if find_spec(module) is None:
            refuse([f"observer {name!r} needs the package {module!r}, which is not installed: pip install '{package}'"])
    return chosen
