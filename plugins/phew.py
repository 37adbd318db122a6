"""PHEW: random walks from the inputs to the outputs and back, drawn to large weights, without data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench.pruning.allocation import kept_count, sizes_of

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

    from lth_bench.pruning.wiring import Wiring
    from lth_bench.training.session import Session

    Units = list[tuple[str, int]]  # layers, and an input or an output of each

WALKS, NEW = 1000, 10  # walks end where of so many in a row, fewer pass a weight that none has passed


@dataclass(frozen=True)
class PHEW:
    """Keep the initial weights that random walks through the network pass first, then train.

    Patil & Dovrolis 2021, arXiv:2010.11354, section 4: walks start at every input and output in turn, one forward, the
    next backward, and take in each layer a kernel with a probability proportional to its L1 norm, then a weight of it
    with one proportional to its absolute value, until as many weights as the target asks for have been passed. With
    `kernels`, a walk keeps all weights of the kernels that it passes. No data is used.

    As in the authors' code, walks pass through a block rather than past it by a shortcut without weights, and choose
    evenly between a block and a shortcut with weights.

    Deviations:
    - The target is met exactly: of the last walk, the first weights stay (in the authors' code all).
    - Where fewer than one of 100 walks finds a new weight, the largest of the others stay (the authors' code goes on).
    - Biases stay where no walk reaches a channel (in the authors' code they go).
    """

    title = "PHEW"
    family = "before training"
    paper = Paper(
        "patil2021phew",
        "PHEW: Constructing Sparse Networks that Learn Fast and Generalize Well without Training Data",
        "Shreyas Malakarjun Patil and Constantine Dovrolis",
        "ICML",
        2021,
        arxiv="2010.11354",
        code="https://github.com/ShreyasMalakarjunPatil/PHEW",
    )

    kernels: bool = False

    def __call__(self, session: Session) -> None:
        session.prune(self.scores(session, _uniforms(session)))
        session.train()

    def scores(self, session: Session, uniforms: Iterator[float]) -> dict[str, Tensor]:
        """The earlier a walk passes a weight, the higher; below zero, by magnitude, for those that none passes."""
        from lth_bench.pruning.wiring import wiring

        paths = Map(session.weights, wiring(session.topology.structure))
        target = kept_count(session.sparsity, sum(sizes_of(session.shapes).values()))
        passed: dict[tuple[str, int], None] = {}  # in the order of walks
        before, new = -NEW, NEW
        for number in count():
            if number % WALKS == 0:
                before, new = len(passed), len(passed) - before
            if len(passed) >= target or new < NEW:
                break
            for name, place, size in paths.walk(number, uniforms):
                start = place - place % size
                places = range(start, start + size) if self.kernels else [place]
                passed.update(dict.fromkeys((name, place) for place in places))
        return ranked(session.weights, passed)


def _uniforms(session: Session) -> Iterator[float]:
    import torch

    while True:
        yield from torch.rand(4096, generator=session.rng, dtype=torch.float64).tolist()


def ranked(weights: Mapping[str, Tensor], passed: Iterable[tuple[str, int]]) -> dict[str, Tensor]:
    """Scores of weights in the order in which they were passed; the others from -1 to 0."""
    import torch

    largest = max(float(weight.detach().abs().max()) for weight in weights.values()) or 1.0
    scores = {name: weight.detach().double().abs().cpu() / largest - 1 for name, weight in weights.items()}
    order = list(passed)
    for name, score in scores.items():
        mine = [(place, len(order) - rank) for rank, (layer, place) in enumerate(order) if layer == name]
        if mine:
            places, values = zip(*mine, strict=True)
            score.view(-1)[torch.tensor(places)] = torch.tensor(values, dtype=score.dtype)
    return {name: score.to(weights[name].device) for name, score in scores.items()}


class Map:
    """The paths through a network, and the probabilities of every step.

    `forward` and `backward` hold by layer the cumulative probabilities of outputs by input, and of inputs by output.
    """

    def __init__(self, weights: Mapping[str, Tensor], found: Wiring) -> None:
        self.kernels = {
            name: _cumulative(weight.detach().double().abs().cpu().flatten(2).flatten(0, 1))
            for name, weight in weights.items()
            if weight.ndim > 2
        }
        norms = {name: _norms(weight, len(found.image[name])) for name, weight in weights.items()}
        self.forward = {name: _cumulative(norm.T) for name, norm in norms.items()}
        self.backward = {name: _cumulative(norm) for name, norm in norms.items()}
        self._widths = {name: weight.shape[1] for name, weight in weights.items()}
        self._behind = {name: found.behind(name) for name in weights}
        self._inputs: dict[tuple[str, int], Units] = {}
        self._outputs: dict[tuple[str, int], Units] = {}
        for reader, writers in found.channels.items():
            for writer, channels in writers.items():
                for unit, channel in enumerate(channels.tolist()):
                    if channel >= 0:
                        self._inputs.setdefault((writer, channel), []).append((reader, unit))
                        self._outputs.setdefault((reader, unit), []).append((writer, channel))
        image = self._next(
            [(name, unit) for name, mask in found.image.items() for unit in mask.nonzero()[:, 0].tolist()]
        )
        self._starts = [image, [(found.order[-1], unit) for unit in range(len(weights[found.order[-1]]))]]

    def walk(self, number: int, uniforms: Iterator[float]) -> Iterator[tuple[str, int, int]]:
        """The weights of a walk: layer, place in the flattened weight, and size of a kernel."""
        backward = number % 2
        starts = self._starts[backward]
        unit: tuple[str, int] | None = starts[number // 2 % len(starts)]
        while unit:
            name, one = unit
            other = _pick((self.backward if backward else self.forward)[name][one], next(uniforms))
            output, place = (one, other) if backward else (other, one)
            yield (name, *self._weight(name, output, place, uniforms))
            options = self._outputs.get((name, place), []) if backward else self._inputs.get((name, output), [])
            unit = _turn(self._next(options, backward=bool(backward)), uniforms)

    def _weight(self, name: str, output: int, unit: int, uniforms: Iterator[float]) -> tuple[int, int]:
        """A grouped convolution has the inputs of a group in every row."""
        row = output * self._widths[name] + unit % self._widths[name]
        if name not in self.kernels:
            return row, 1
        kernel = self.kernels[name][row]
        return row * len(kernel) + _pick(kernel, next(uniforms)), len(kernel)

    def _next(self, options: Units, *, backward: bool = False) -> Units:
        """Those in layers to which no path goes from others of them, against the direction when `backward`."""
        layers = dict.fromkeys(name for name, _ in options)
        if len(layers) == 1:
            return options
        far = {
            name
            for name in layers
            for other in layers
            if (other in self._behind[name] if backward else name in self._behind[other])
        }
        return [unit for unit in options if unit[0] not in far]


def _turn(options: Units, uniforms: Iterator[float]) -> tuple[str, int] | None:
    """First a layer, then a unit of it; draws nothing where there is no choice."""
    for part in (0, 1):
        kinds = list(dict.fromkeys(unit[part] for unit in options))
        if len(kinds) > 1:
            kind = kinds[int(next(uniforms) * len(kinds))]
            options = [unit for unit in options if unit[part] == kind]
    return options[0] if options else None


def _norms(weight: Tensor, inputs: int) -> Tensor:
    """L1 norms of kernels, outputs × inputs of all groups."""
    norms = weight.detach().double().abs().cpu().reshape(*weight.shape[:2], -1).sum(2)
    groups = inputs // norms.shape[1]
    whole = norms.new_zeros(len(norms), inputs)
    rows, columns = len(norms) // groups, norms.shape[1]
    for group in range(groups):
        block = norms[group * rows : (group + 1) * rows]
        whole[group * rows : (group + 1) * rows, group * columns : (group + 1) * columns] = block
    return whole


def _cumulative(strengths: Tensor) -> ndarray:
    """Cumulative probabilities by row, even where a row is all zero."""
    totals = strengths.sum(1, keepdim=True)
    shares = (strengths / totals).where(totals > 0, 1 / strengths.shape[1])
    sums = shares.cumsum(1)
    return (sums / sums[:, -1:]).numpy()


def _pick(cumulative: ndarray, uniform: float) -> int:
    return int(cumulative.searchsorted(uniform, side="right"))


@hookimpl
def register_pruners(register):
    register("phew", PHEW)
