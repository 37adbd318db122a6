"""How commands let an engine supply processes, and tell of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

import typer

from lth_bench.cli.terminal import out, refuse, say
from lth_bench.cli.working import display

if TYPE_CHECKING:
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.running.engines import WorkEngine
    from lth_bench.running.queue import Tell
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity


def chosen_engine(
    plugins: Plugins, name: str | None, more: list[str], command: Callable[..., None]
) -> WorkEngine | None:
    """The engine of `--on NAME` with its own options, the ones that the command did not know; None without a name.

    Ends the program if there is no such engine or option.
    """
    from lth_bench.errors import UnknownName
    from lth_bench.experiments.choices import instantiate

    if name is None:
        if more:
            refuse([_unknown(more[0], command)])
        return None
    try:
        engine: WorkEngine = instantiate(plugins.engines, name, dict(_options(more)))
    except (UnknownName, ValueError) as error:
        refuse([f"--on {name}: {line}" for line in str(error).splitlines()])
    return engine


def supply(engine: WorkEngine, sweep: Sweep, todo: list[Identity], workers: int | None, suite: str) -> None:
    """Has an engine supply processes for these experiments; ends the program unless it waited until they were done."""
    from lth_bench.running.engines import EngineError, Work, longest
    from lth_bench.storage.records import read_plan

    directory = sweep.directory.resolve()
    seconds = max(sweep.limits.time or 0.0, longest(directory, (item.key for item in read_plan(directory))))
    out.print(f"{suite}: {len(todo)} experiments wait in {sweep.directory}/", markup=False, soft_wrap=True)
    try:
        with display(len(todo)) as tell:
            engine(Work(directory, len(todo), workers, seconds, _Look(directory, todo, tell)))
    except EngineError as error:
        refuse(str(error).splitlines())
    if not engine.waits:
        raise typer.Exit


def print_jobs(directory: Path) -> None:
    """Says how the jobs stand that engines have for a run directory."""
    from lth_bench.experiments.plugins import load_plugins
    from lth_bench.running.engines import EngineError, noted

    if not (jobs := noted(directory)):
        return
    engines = load_plugins().engines.items
    for job in jobs:
        try:
            words = engines[job.engine]().standing(job) if job.engine in engines else "its engine is not installed"
        except EngineError as error:
            words = str(error)
        say(out, f"{job.engine} job {job.name}, {job.workers} workers: {words or 'ended'}")


class _Look:
    """Tells of experiments that have got their record since it was last called."""

    def __init__(self, directory: Path, todo: list[Identity], tell: Tell) -> None:
        self._directory, self._pending, self._tell = directory, {item.key: item for item in todo}, tell

    def __call__(self) -> None:
        from lth_bench.running.standing import standing
        from lth_bench.storage.records import recorded

        for key in self._pending.keys() & set(recorded(self._directory)):
            self._tell(standing(self._directory, key).state, self._pending.pop(key))


def _options(arguments: list[str]) -> Iterator[tuple[str, object]]:
    """Names and values of options such as `--time 2h --array=4`; ends the program at anything else."""
    from lth_bench.experiments.choices import assigned

    rest = iter(arguments)
    for argument in rest:
        name, sign, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name:
            refuse([f"{argument!r} is no option; those of an engine read --NAME VALUE"])
        if not sign and (value := next(rest, "")) == "":
            refuse([f"{argument} needs a value"])
        yield assigned(f"{name.replace('-', '_')}={value}", "time=2h")


def _unknown(argument: str, command: Callable[..., None]) -> str:
    """Why an argument that a command does not know is refused."""
    from lth_bench.experiments.spelling import known_names

    if not argument.startswith("-"):
        return f"{argument!r} is one argument too many; a run has one suite"
    name, hints = argument.partition("=")[0], get_type_hints(command, include_extras=True)
    infos = (info for hint in hints.values() for info in getattr(hint, "__metadata__", ()))
    stated = [text for info in infos for text in (info.default, *(info.param_decls or ()))]  # typer reads both so
    known = [text for text in stated if isinstance(text, str) and text.startswith("--")]
    return f"no such option: {name}; {known_names(name, known)}; options of an engine follow --on ENGINE"
