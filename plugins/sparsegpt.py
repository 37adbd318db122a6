"""SparseGPT: pruning column by column, with errors made up for by the columns to the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Count, Duration, Paper, Rate, hookimpl, uniform
from lth_bench.methods.retraining import RetrainingOrNone, prune_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.training.session import Session

    Choice = Callable[[Tensor, int], Tensor]

TRIES = 8  # times that a damping which does not suffice is made ten times as large


@dataclass(frozen=True)
class SparseGPT:
    """Train, then prune each layer column by column, and let the columns to the right make up for the error.

    Frantar & Alistarh 2023, arXiv:2301.00774, section 3. H is the sum of 2 x xᵀ / `examples` over what a layer sees of
    `examples` images of the training split, plus `damping` times the mean of its diagonal, and U the upper Cholesky
    factor of H⁻¹; a weight costs w² / U_jj². Of every `columns` columns, the weights that cost least by their values so
    far are removed, the same share in all; under a pattern, those of each group. An input that is always zero loses its
    weights. `inputs` of a layer are those that the pruned layers before it put out, or those of the dense network. One
    layer's H is in memory at a time. `retraining` may follow, which the paper does without.

    Deviations:
    - All prunable layers are pruned (the authors' code: linear layers inside blocks), convolutions as in the authors'
      OBC by unfolded inputs; layers that cannot hold a pattern stay dense and as they are.
    - "pruned" inputs are those behind every single layer before (the authors' code: behind the blocks before).
    - The target is hit to one weight (the authors' code removes at least one more of every `columns` columns).
    - Under a pattern, the columns of a convolution are taken position by position, so that a group holds channels.
    - H is in the weights' precision, the rest in float64; a damping that does not suffice is made larger, and noted.
    """

    title = "SparseGPT"
    family = "after training"
    paper = Paper(
        "frantar2023sparsegpt",
        "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
        "Elias Frantar and Dan Alistarh",
        "ICML",
        2023,
        arxiv="2301.00774",
        code="https://github.com/IST-DASLab/sparsegpt",
    )

    examples: Count = 128
    inputs: Literal["pruned", "dense"] = "pruned"
    columns: Count = 128
    damping: Rate = 0.01
    retraining: RetrainingOrNone = "none"
    rewind_to: Duration = Duration("0it")

    def __call__(self, session: Session) -> None:
        prune_trained(session, lambda: self.prune_all(session), self.retraining, self.rewind_to)

    def prune_all(self, session: Session) -> None:
        sample = session.sample(self.examples)
        order = self.order(session, sample)
        self.prune(session, [sample], [[name] for name in order] if self.inputs == "pruned" else [order])

    def order(self, session: Session, sample: Batch) -> list[str]:
        """The layers in the order in which a pass reaches them."""
        from lth_bench.methods.calibration import layer_calls

        return list(dict.fromkeys(layer_calls(session, sample)))

    def prune(
        self,
        session: Session,
        batches: Sequence[Batch],
        parts: Iterable[Sequence[str]],
        sparsities: dict[str, float] | None = None,
    ) -> None:
        """Prunes parts of the network one after the other; others, and those that cannot hold a pattern, stay.

        The layers of a part all see it as it was before. They are pruned from the last to the first, so that none sees
        another that was pruned, and no copy is needed.
        """
        from lth_bench.methods.calibration import gram, layer_calls

        sparsities = sparsities or uniform(session.shapes, session.sparsity)
        count = sum(len(batch.inputs) for batch in batches)
        calls, masks, used = layer_calls(session, batches[0]), dict(session.masks), self.damping
        for name in (name for part in parts for name in reversed(part)):
            if not session.pattern or session.pattern.fits(session.shapes[name]):
                masks[name], damping = self.prune_layer(
                    session, name, gram(session, batches, name, calls).mul_(2 / count), sparsities[name]
                )
                used = max(used, damping)
        if used > self.damping:
            session.note("damping", used)
        session.adopt(masks)

    def prune_layer(self, session: Session, name: str, hessian: Tensor, sparsity: float) -> tuple[Tensor, float]:
        """The mask of a layer, which gets its new weights, and the damping that sufficed."""
        import torch

        weight, pattern = session.weights[name].detach(), session.pattern
        order = _by_position(weight) if pattern else torch.arange(weight[0].numel())
        order, groups = order.to(weight.device), len(hessian)
        matrix = weight.flatten(1)[:, order].double().unflatten(0, (groups, -1))
        upper, damping = self.factor(hessian[:, order[:, None], order] if pattern else hessian, matrix, session.step)
        if pattern:
            width, size = pattern.of, max(1, self.columns // pattern.of) * pattern.of
            kept = operate(matrix, upper, size, width, lambda costs, start: best(costs, pattern.kept))
        else:
            width = size = self.columns
            counts = block_counts(matrix, size, sparsity)
            kept = operate(matrix, upper, size, width, lambda costs, start: _top(costs, counts[start]))
        back = order.argsort()
        weight.copy_(matrix.flatten(0, 1)[:, back].view_as(weight))
        return kept.flatten(0, 1)[:, back].view_as(weight), damping

    def factor(self, hessian: Tensor, matrix: Tensor, step: int) -> tuple[Tensor, float]:
        """The upper Cholesky factor of the inverse of a damped H, groups × columns × columns, and the damping.

        Weights of dead inputs, those that are always zero, become zero. Raises Diverged for what is not finite.
        """
        from lth_bench.errors import Diverged

        if not (hessian.isfinite().all() and matrix.isfinite().all()):
            raise Diverged(step, "inputs or weights of a layer that are not finite")
        diagonal = hessian.diagonal(dim1=1, dim2=2).double()
        dead = diagonal == 0
        matrix.masked_fill_(dead[:, None], 0.0)
        diagonal = diagonal.masked_fill(dead, 1.0)
        damping, mean = self.damping, diagonal.mean(1, keepdim=True)
        for _ in range(TRIES):
            if (upper := inverse_factor(hessian, diagonal + damping * mean)) is not None:
                return upper, damping
            damping *= 10
        raise Diverged(step, f"inputs of a layer for which no damping up to {damping:g} of their mean square suffices")


def inverse_factor(hessian: Tensor, diagonal: Tensor) -> Tensor | None:
    """The upper Cholesky factor of the inverse of H with another diagonal in float64; no more than two at a time."""
    import torch

    damped = hessian.double() if hessian.dtype != torch.float64 else hessian.clone()
    damped.diagonal(dim1=1, dim2=2).copy_(diagonal)
    lower, failed = torch.linalg.cholesky_ex(damped)
    del damped
    if bool(failed.any()):
        return None
    inverse = torch.cholesky_inverse(lower)
    del lower
    upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
    return None if bool(failed.any()) else upper


def operate(matrix: Tensor, upper: Tensor, size: int, width: int, choice: Choice) -> Tensor:
    """Prunes weights, groups × rows × columns, and changes those to the right; returns the mask.

    Columns are taken in blocks of `size`, `width` of which are chosen from at a time: `choice` makes of their costs and
    the number of the first the mask.
    """
    import torch

    kept, columns = torch.ones_like(matrix, dtype=torch.bool), matrix.shape[2]
    for start in range(0, columns, size):
        end = min(start + size, columns)
        errors = torch.zeros_like(matrix[:, :, start:end])
        for place in range(start, end):
            if (place - start) % width == 0:
                chosen = slice(place, min(place + width, end))
                scale = upper[:, chosen, chosen].diagonal(dim1=1, dim2=2)[:, None]
                kept[:, :, chosen] = choice((matrix[:, :, chosen] / scale).square(), place)
            lost = matrix[:, :, place].masked_fill(kept[:, :, place], 0.0)
            error = lost / upper[:, place, place, None]
            matrix[:, :, place:end] -= error[:, :, None] * upper[:, None, place, place:end]
            errors[:, :, place - start] = error
        matrix[:, :, end:] -= errors @ upper[:, start:end, end:]
    matrix.masked_fill_(~kept, 0.0)
    return kept


def block_counts(matrix: Tensor, size: int, sparsity: float) -> dict[int, int]:
    """How many weights each block of columns keeps, by its first column; the same share, and exact in all."""
    from lth_bench.pruning.allocation import kept_count, sizes_of

    groups, rows, columns = matrix.shape
    blocks = {str(start): (groups * rows, min(size, columns - start)) for start in range(0, columns, size)}
    sparsities = uniform(blocks, sparsity)
    return {int(start): kept_count(sparsities[start], count) for start, count in sizes_of(blocks).items()}


def _by_position(weight: Tensor) -> Tensor:
    """The columns of a layer, those of one position of its kernel after the other."""
    import torch

    inputs = weight.shape[1]
    return torch.arange(weight[0].numel()).view(inputs, -1).T.flatten()


def _top(costs: Tensor, count: int) -> Tensor:
    from lth_bench.pruning.masks import top

    return top(costs, count)


def best(costs: Tensor, count: int) -> Tensor:
    import torch

    places = costs.argsort(dim=-1, descending=True, stable=True)[..., :count]
    return torch.zeros_like(costs, dtype=torch.bool).scatter_(-1, places, True)


@hookimpl
def register_pruners(register):
    register("sparsegpt", SparseGPT)
