"""The analysis of transfer: tickets of each data set, or of each recipe, trained on each of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lth_bench import Unsuitable, hookimpl
from lth_bench.experiments.choices import label
from lth_bench.experiments.experiment import without_defaults
from lth_bench.hashing import canonical, sha256
from lth_bench.methods.controls import scattered, start_from, train_on
from lth_bench_plugins.transfer import Transfer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas
    from lth_bench.running.finished import Finished

PAIR = ["found", "trained"]
CELL = 4.6  # em
COLUMNS = 4  # panels side by side, at most


@dataclass(frozen=True)
class TransferMatrix:
    """Test accuracy of a ticket on another data set, less that of a random mask of its layers' sparsities there.

    The others are the data sets that the run directory has finished experiments on, on the same model; or, `across`
    recipes, the recipes of such experiments on the same data set. A ticket is trained there as by the control
    `transfer`, and a random mask as by `random_layerwise`: from the initial weights of the seed, for a whole recipe. An
    output layer for other classes is new, with a random mask, and where a ticket does not fit it has no row. On the
    diagonal a ticket is trained once more where it was found.

    Deviations:
    - The optimiser starts with an empty state, since a ticket holds none.
    """

    across: Literal["dataset", "recipe"] = "dataset"

    title = "Transfer matrix"
    question = "Does a ticket work on other data, or by another recipe, than those that it was found with?"
    caption = (
        "Test accuracy of tickets less that of random masks with as many weights in each layer, in points: a row for "
        "where tickets were found, a column, numbered as rows are, for where they were trained, and both the same on "
        "the diagonal; means over seeds and half of their 95 % interval, paired by seed; grey: not known"
    )
    columns: ClassVar = {
        "found": "found on",
        "trained": "trained on",
        "accuracy": "ticket (%)",
        "random": "random mask (%)",
        "gain": "difference",
        "half": "±",
    }
    spans_boards = True
    paper = Transfer.paper

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        if study.experiment.control is not None:
            raise Unsuitable("it is a control; the tickets of methods are transferred")
        if all(bool(mask.all()) for mask in study.ticket.masks.values()):
            raise Unsuitable("the ticket prunes nothing, so that a random mask would be the same")
        home, *others = self._places(study)
        faults = []
        for place in others:
            try:
                yield {"found": home.name, "trained": place.name, **_accuracies(study, place)}
            except Unsuitable as error:
                faults.append(f"on {place.name!r} {error}")
        if len(faults) == len(others):
            other = "on another data set" if self.across == "dataset" else "by another recipe on its data set"
            alone = f"the run directory has no experiment of its model {other}"
            raise Unsuitable(faults[0] if faults else f"{alone}; run a suite with several")
        yield {"found": home.name, "trained": home.name, **_accuracies(study, home)}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds of every pair of places."""
        import pandas as pd

        order = list(dict.fromkeys([*rows["found"], *rows["trained"]]))
        rows = rows.sort_values(PAIR, key=lambda names: names.map(order.index), kind="stable")
        found = []
        for method, matrix in _grouped(rows, [*self._varied(rows), "method", "target"]):
            for pair, part in _grouped(matrix, PAIR):
                mean, half = _interval(part)
                means = part[["accuracy", "random"]].mean().to_dict()
                found.append({**method, **pair, **means, "gain": mean, "half": half, "n": len(part)})
        return pd.DataFrame(found)

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """A square for each method and sparsity, of all places."""
        from lth_bench.reports import escaping
        from lth_bench.reports.figures.sheet import Heading, Sheet, panels
        from lth_bench.reports.figures.style import width, wrapped
        from lth_bench.reports.numbers import percentage

        places = list(dict.fromkeys([*rows["found"], *rows["trained"]]))
        labels = [f"{wrapped(escaping.figure(name), 16.0)}  {number}" for number, name in enumerate(places, 1)]
        names, groups = zip(*_grouped(rows, [*self._varied(rows), "method", "target"]), strict=True)
        titles = [", ".join([*list(map(str, name.values()))[:-1], percentage(name["target"])]) for name in names]
        columns = min(COLUMNS, len(groups))
        left = max(map(width, labels)) + 3.0
        side = min((canvas.setting.room - left) / columns - 1.4, CELL * len(places))
        sheet = Sheet(columns, side, left=left, right=(canvas.setting.room - left) / columns - side, above=3.2)
        titles = [wrapped(escaping.figure(title), side) for title in titles]
        figure, all_axes = panels(titles, sheet, Heading(canvas.title, []), canvas.setting)
        reach = max(1.0, rows["gain"].abs().max())
        for number, (axes, part) in enumerate(zip(all_axes, groups, strict=True)):
            _square(axes, part, places, reach)
            axes.set_yticks(range(len(places)), labels if number % columns == 0 else [""] * len(places))
            axes.set_ylabel(self.columns["found"].capitalize() if number % columns == 0 else "")
            axes.set_xlabel(self.columns["trained"].capitalize() if number + columns >= len(groups) else "")
        return figure

    def _varied(self, rows: DataFrame) -> list[str]:
        """Columns that tell matrices apart, where there are several."""
        kept = ("model", "recipe" if self.across == "dataset" else "dataset")
        return [name for name in kept if rows[name].nunique() > 1]

    def _places(self, study: Study) -> list[_Place]:
        """Where the ticket was found, then the other places, in the order of the plan."""
        mine, found = study.experiment, dict[str, tuple[str, Any]]()
        for one in (study.subject, *study.peers):
            other = one.experiment
            if other.model == mine.model and (self.across == "dataset" or other.dataset == mine.dataset):
                value = getattr(other, self.across)
                found.setdefault(canonical(without_defaults(value)), (self._name(one), value))
        names = Counter(name for name, _ in found.values())
        return [
            _Place(name if names[name] == 1 else f"{name} [{sha256(key.encode())[:8]}]", {self.across: value})
            for key, (name, value) in found.items()
        ]

    def _name(self, one: Finished) -> str:
        identity = one.identity
        if self.across == "recipe":
            return identity.recipe
        return identity.dataset_label or label(identity.experiment.dataset)


@dataclass(frozen=True)
class _Place:
    """What tables call a place, and what a Session there has in place of the experiment's own."""

    name: str
    change: dict[str, Any]

    @property
    def dataset(self) -> Any:
        return self.change.get("dataset")


def _accuracies(study: Study, place: _Place) -> dict[str, float]:
    """Test accuracies at a place of the ticket and of a random mask, in per cent. Raises Unsuitable."""
    session = study.session(**place.change)
    ticket = study.fitted(session)
    start_from(session, ticket, {})
    train_on(session, ticket)
    scattering = study.session(**place.change)
    scattering.adopt(*scattered(scattering, ticket, "random_layerwise"))
    scattering.train()
    found, random = (100 * study.test(one.snapshot().state, place.dataset).accuracy for one in (session, scattering))
    return {"accuracy": found, "random": random, "gain": found - random}


def _grouped(rows: DataFrame, columns: list[str]) -> Iterator[tuple[dict[str, Any], DataFrame]]:
    """The rows that are equal in some columns, behind these values."""
    for values, part in rows.groupby(columns, sort=False):
        yield dict(zip(columns, values, strict=True)), part


def _interval(rows: DataFrame) -> tuple[float, float]:
    """The mean of the differences over seeds, and half of its interval."""
    from lth_bench.results.statistics import mean_interval

    interval = mean_interval(rows["gain"].to_numpy(dtype=float)[None])
    return float(interval.mean[0]), float(interval.upper[0] - interval.mean[0])


def _square(axes: Axes, rows: DataFrame, places: list[str], reach: float) -> None:
    """Means as colours and numbers: a row for where tickets were found, a column for where they were trained."""
    import numpy as np

    values = np.full((len(places), len(places)), np.nan)
    for names, part in _grouped(rows, PAIR):
        down, across = (places.index(names[name]) for name in PAIR)
        mean, half = _interval(part)
        values[down, across] = mean
        text = f"{mean:+.1f}" + ("" if np.isnan(half) else f"\n± {half:.1f}")
        dark = abs(mean) > 0.6 * reach
        axes.text(across, down, text, ha="center", va="center", color="white" if dark else "0.15", size="small")
    axes.imshow(values, cmap="RdBu", vmin=-reach, vmax=reach)
    axes.set(facecolor="0.9")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(places)), [str(number) for number in range(1, len(places) + 1)])


@hookimpl
def register_analyses(register):
    register("transfer_matrix", TransferMatrix)
