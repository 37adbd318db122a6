"""The experiments of a command: those of a suite, or a selection of them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth_bench.cli.terminal import err, refuse

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Planned
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.storage.record import Identity, Methods


@dataclass(frozen=True)
class Selection:
    """The experiments of a suite, the `chosen` ones among them, what their methods say of themselves, and its file.

    `redone` are the keys of those that are to be computed again.
    """

    suite: str
    path: Path
    planned: list[Planned]
    chosen: list[Planned]
    methods: Methods
    redone: frozenset[str] = frozenset()

    @property
    def directory(self) -> Path:
        """The run directory unless another is given."""
        return default_directory(self.suite)

    @property
    def weights(self) -> dict[str, Path]:
        """The files of weights that the chosen experiments start from, by what identifies them."""
        return {item.experiment.model.arguments["weights"]: item.weights for item in self.chosen if item.weights}

    @property
    def identities(self) -> list[Identity]:
        """What the records of the chosen experiments will say of them."""
        from lth_bench.storage.record import identity

        return [identity(self.suite, item) for item in self.chosen]


def select(
    suite: str, only: str | None, plugins: Plugins, root: Path | None = None, redo: str | None = None
) -> Selection:
    """Plans a suite and selects the experiments for which `only` holds; ends the program if that is impossible.

    Those for which `redo` holds are to be computed again, and so are the controls on their tickets.
    """
    from lth_bench.errors import SuiteError
    from lth_bench.experiments.plan import methods, plan, read_suite, suite_path, weight_folders

    try:
        name, content = read_suite(suite, plugins, root)
        planned = plan(content, plugins, weight_folders(suite, plugins, root))
    except SuiteError as error:
        refuse(error.faults)
    path = suite_path(suite, plugins)
    chosen = planned if only is None else _with_bases(planned, matching(planned, "--only", only))
    redone = frozenset[str]() if redo is None else _with_controls(planned, matching(chosen, "--redo", redo))
    keys = {item.experiment.key for item in chosen} | redone
    return Selection(name, path, planned, _among(planned, keys), methods(planned, plugins), redone)


def default_directory(suite: str) -> Path:
    """The run directory of a suite, or of the path of its file, unless another is given."""
    return Path("runs", Path(suite).stem if suite.endswith(".toml") else suite)


def installed_plugins(files: Sequence[Path] | None = None, directory: Path | None = None) -> Plugins:
    """All plugins that load, with these files; prints the others with the reason. Raises FileFault for a file.

    Only who works on a run directory names it: the files that were copied there are loaded too.
    """
    from lth_bench.experiments.plugins import load_plugins
    from lth_bench.running.plugin_files import load_copies, load_file
    from lth_bench.storage.records import plugin_folder

    plugins = load_plugins()
    for path in files or []:
        load_file(path, plugins)
    if directory:
        load_copies(plugin_folder(directory), plugins)
    for broken in plugins.broken:
        provider = broken.provider
        err.print(
            f"plugin {provider.plugin!r} of {provider.distribution} could not be loaded: {broken.reason}",
            style="yellow",
            markup=False,
        )
    return plugins


def matching(items: Sequence[Planned | Identity], option: str, condition: str) -> set[str]:
    """The keys of the experiments for which the condition of an option holds; ends the program if there are none."""
    import pandas as pd

    frame = pd.DataFrame([_columns(item) for item in items])
    try:
        rows = frame.query(condition).index
    except Exception as error:
        refuse([f"{option} {condition!r}: {error}; columns: {', '.join(frame.columns)}"])
    if rows.empty:
        refuse([f"{option} {condition!r} leaves none of the {len(items)} experiments"])
    return {items[index].experiment.key for index in rows}


def _with_bases(planned: list[Planned], keys: set[str]) -> list[Planned]:
    """The experiments with these keys, and those that find tickets for them."""
    bases = {base.key for item in planned if item.experiment.key in keys and (base := item.experiment.base)}
    return _among(planned, keys | bases)


def _with_controls(planned: list[Planned], keys: set[str]) -> frozenset[str]:
    """These keys, and those of the controls on the tickets of these experiments."""
    bases = ((item.experiment.key, item.experiment.base) for item in planned)
    return frozenset(keys | {key for key, base in bases if base and base.key in keys})


def _among(planned: list[Planned], keys: Set[str]) -> list[Planned]:
    return [item for item in planned if item.experiment.key in keys]


def _columns(item: Planned | Identity) -> dict[str, Any]:
    e, analysis = item.experiment, getattr(item, "analysis", None)
    return {
        "dataset": e.dataset.name,
        "model": e.model.name,
        "recipe": item.recipe,
        "pruner": e.pruner.name,
        "control": e.control.name if e.control else "",
        "label": item.label,
        "sparsity": e.sparsity,
        "pattern": e.pattern,
        "seed": e.seed,
        "key": e.key,
        **({"analysis": analysis.choice.name} if analysis else {}),
    }
