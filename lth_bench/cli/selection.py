"""The experiments of a command: those of a suite, or a selection of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth_bench.cli.terminal import err, refuse

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Planned
    from lth_bench.experiments.plugins import Plugins


@dataclass(frozen=True)
class Selection:
    """The experiments of a suite, the `chosen` ones among them, and the path of its file."""

    suite: str
    path: Path
    planned: list[Planned]
    chosen: list[Planned]

    @property
    def directory(self) -> Path:
        """The run directory unless another is given."""
        return Path("runs", self.suite)


def select(suite: str, only: str | None, plugins: Plugins) -> Selection:
    """Plans a suite and selects the experiments for which `only` holds; ends the program if that is impossible."""
    from lth_bench.errors import SuiteError
    from lth_bench.experiments.plan import plan, read_suite, suite_path

    try:
        name, content = read_suite(suite, plugins)
        planned = plan(content, plugins)
    except SuiteError as error:
        refuse(error.faults)
    path = suite_path(suite, plugins)
    return Selection(name, path, planned, planned if only is None else _filtered(planned, only))


def installed_plugins() -> Plugins:
    """All plugins that load; prints the others with the reason."""
    from lth_bench.experiments.plugins import load_plugins

    plugins = load_plugins()
    for broken in plugins.broken:
        provider = broken.provider
        err.print(
            f"plugin {provider.plugin!r} of {provider.distribution} could not be loaded: {broken.reason}",
            style="yellow",
            markup=False,
        )
    return plugins


def _filtered(planned: list[Planned], only: str) -> list[Planned]:
    import pandas as pd

    frame = pd.DataFrame([_columns(item) for item in planned])
    try:
        rows = frame.query(only).index
    except Exception as error:
        refuse([f"--only {only!r}: {error}; columns: {', '.join(frame.columns)}"])
    if rows.empty:
        refuse([f"--only {only!r} leaves none of the {len(planned)} experiments"])
    chosen = {planned[index].experiment.key for index in rows}
    chosen |= {base.key for index in rows if (base := planned[index].experiment.base)}
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
