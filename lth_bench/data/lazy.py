"""Splits whose images are read when they are needed, ahead of time by processes of their own."""

from __future__ import annotations

import random
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from lth_bench.data.examples import Batch
from lth_bench.data.pixels import normalised, scale_and_shift
from lth_bench.errors import DataError
from lth_bench.hashing import canonical, sha256
from lth_bench.randomness import kept_noise, stream_seed

if TYPE_CHECKING:
    from lth_bench.data.examples import Draw
    from lth_bench.experiments.datasets import Listing
    from lth_bench.experiments.recipe import Recipe

CPU = torch.device("cpu")
MODES = {1: "L", 3: "RGB"}  # of PIL images, by channels
TRIALS = 64  # of transforms when a recipe is checked: some act by chance
IN_MEMORY = ("crop", "flip", "cutout")
# Arguments of timm's `create_transform` that a recipe may not set: those that are given here, and those for sequences.
GIVEN = {"input_size", "is_training", "mean", "std", "use_prefetcher", "normalize", "separate", "tf_preprocessing"}
SEQUENCES = {"naflex", "patch_size", "max_seq_len", "patchify", "patchify_channels_last", "patchify_flatten"}

Loaded = Tensor | DataError


class LazyExamples:
    """A split whose images are read when they are needed; images of any size become squares.

    `loaders` processes read ahead; batches do not depend on their number. Every method that reads raises DataError for
    an image that cannot be read.
    """

    def __init__(
        self,
        listing: Listing,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        loaders: int = 0,
        index: Tensor | None = None,
        device: torch.device = CPU,
    ) -> None:
        self._listing, self._mean, self._std, self._loaders, self._device = listing, mean, std, loaders, device
        self._index = torch.arange(len(listing.labels)) if index is None else index.cpu()
        self.labels = torch.from_numpy(listing.labels)[self._index].to(device)
        self.shape = (listing.channels, listing.size, listing.size)
        self._scale, self._shift = (values.to(device) for values in scale_and_shift(mean, std))
        self._next: Draw | None = None
        self._ahead: list[Iterator[Loaded]] = []
        weakref.finalize(self, self._ahead.clear)  # a loader in a reference cycle ends only after a timeout

    def __len__(self) -> int:
        return len(self._index)

    def batch(self, index: Tensor | slice) -> Batch:
        """The examples at these indices, resized and cropped to the centre."""
        chosen = torch.arange(len(self))[index if isinstance(index, slice) else index.cpu()]
        return self._batch(next(_read(self._centred(), [chosen], 0)), chosen)

    def chunks(self, size: int) -> Iterator[Batch]:
        """The whole split in order, resized and cropped to the centre, `size` examples at a time."""
        parts = torch.arange(len(self)).split(size)
        ahead = _read(self._centred(), parts, self._loaders, self._pinned)
        try:
            for part in parts:
                yield self._batch(next(ahead), part)
        finally:
            del ahead  # ends its processes even while a traceback holds this frame

    def training_batches(self, draws: Iterable[Draw]) -> Iterator[Batch]:
        return map(self.training_batch, draws)

    def training_batch(self, draw: Draw) -> Batch:
        """Augmented examples; the augmentation of each is a function of (seed, epoch, its index in the split)."""
        if self._next is None or not _same(self._next, draw):
            self._seek(draw)
        self._next = replace(draw, start=draw.start + draw.recipe.batch_size)
        try:
            batch = self._batch(next(self._ahead[0]), draw.index.cpu())
        except BaseException:
            self.close()
            raise
        if len(draw.order) < self._next.start + draw.recipe.batch_size:
            self.close()
        return batch

    def subset(self, index: Tensor) -> LazyExamples:
        index = self._index[index.cpu()]
        return LazyExamples(self._listing, self._mean, self._std, self._loaders, index, self._device)

    def to(self, device: torch.device) -> LazyExamples:
        return LazyExamples(self._listing, self._mean, self._std, self._loaders, self._index, device)

    def renormalised(self, mean: Sequence[float], std: Sequence[float]) -> LazyExamples:
        return LazyExamples(self._listing, tuple(mean), tuple(std), self._loaders, self._index, self._device)

    def digest(self) -> str:
        """A hash of the listing's digest, the chosen examples and their normalisation."""
        about = canonical([self._listing.digest, self.shape, self._mean, self._std])
        return sha256(about.encode() + self._index.numpy().tobytes())

    def faults(self, recipe: Recipe) -> list[str]:
        """What a recipe asks for that cannot be done with these images, one sentence each."""
        names = [name for name in IN_MEMORY if getattr(recipe, name)]
        faults = [f"{', '.join(names)}: for images in memory; here there are transforms"] if names else []
        if unfit := sorted((GIVEN | SEQUENCES) & recipe.transforms.keys()):
            return [*faults, f"transforms: {', '.join(unfit)} cannot be set"]
        image = Image.new(MODES[self.shape[0]], self.shape[1:])
        try:
            transform = self._transform(recipe.transforms)
            for trial in range(TRIALS):
                with _noise(trial):
                    transform(image)
        except Exception as error:  # timm checks its arguments with assertions and by using them
            faults.append(f"transforms: timm takes no such arguments ({type(error).__name__}: {error})")
        return faults

    def close(self) -> None:
        """Ends the processes that read ahead; the next training batch starts new ones."""
        self._next = None
        self._ahead.clear()

    @property
    def _pinned(self) -> bool:
        return self._device.type == "cuda"

    def _seek(self, draw: Draw) -> None:
        """Starts to read from a draw to the end of its epoch, without an incomplete last batch."""
        self.close()
        order, size = draw.order[draw.start :].cpu(), draw.recipe.batch_size
        whole = order[: max(size, len(order) // size * size)]
        transform = self._transform(draw.recipe.transforms)
        images = _Images(self._listing.open, self._index, transform, (draw.seed, draw.epoch))
        self._ahead.append(_read(images, whole.split(size), self._loaders, self._pinned))

    def _transform(self, arguments: dict[str, Any]) -> Callable[[Image.Image], Tensor]:
        """timm's transform; normalisation is left to the device, except with random erasing, which needs it before."""
        erases = arguments.get("re_prob", 0) > 0
        transform: Callable[[Image.Image], Tensor] = create_transform(
            self._listing.size, is_training=True, mean=self._mean, std=self._std, use_prefetcher=not erases, **arguments
        )
        return transform

    def _centred(self) -> _Images:
        return _Images(self._listing.open, self._index, create_transform(self._listing.size, use_prefetcher=True))

    def _batch(self, inputs: Loaded, index: Tensor) -> Batch:
        if isinstance(inputs, DataError):
            raise inputs
        inputs = inputs.to(self._device, non_blocking=True)
        if inputs.dtype == torch.uint8:
            inputs = normalised(inputs, self._scale, self._shift)
        return Batch(inputs, self.labels[index.to(self._device)])


@dataclass(frozen=True)
class _Images(Dataset[Loaded]):
    """Images of a split as tensors; random transforms draw from `noise`, a seed and an epoch."""

    open: Callable[[int], Image.Image]
    index: Tensor
    transform: Callable[[Image.Image], Tensor]
    noise: tuple[int, int] | None = None

    def __getitem__(self, i: int) -> Loaded:
        """The image, or the error of reading it: an error that is raised in a loader would lose its type."""
        try:
            image = self.open(int(self.index[i]))
        except DataError as error:
            return error
        if self.noise is None:
            return self.transform(image)
        seed, epoch = self.noise
        with _noise(stream_seed(seed, "augmentation", epoch, i)):
            return self.transform(image)


@contextmanager
def _noise(seed: int) -> Iterator[None]:
    """Seeds all random streams that transforms draw from, and restores them afterwards."""
    python, legacy = random.getstate(), np.random.get_state()
    with kept_noise(CPU):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def _read(images: _Images, parts: Iterable[Tensor], loaders: int, pinned: bool = False) -> Iterator[Loaded]:
    """The images of each part, a list of indices, as one tensor."""
    indices = (part.tolist() for part in parts)
    if not loaders:
        return (_stacked([images[i] for i in part]) for part in indices)
    loader = DataLoader(
        images,
        batch_sampler=indices,
        num_workers=loaders,
        collate_fn=_stacked,
        pin_memory=pinned,
        generator=torch.Generator(),  # without one, the loader draws from torch's own stream
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )
    with warnings.catch_warnings(action="ignore"):  # about more loaders than cores and forking beside threads
        return iter(loader)


def _stacked(images: list[Loaded]) -> Loaded:
    """The images as one tensor, or the first error among them."""
    for image in images:
        if isinstance(image, DataError):
            return image
    stack: Tensor = default_collate(images)
    return stack


def _same(one: Draw, other: Draw) -> bool:
    """Whether two draws stand for the same batch."""
    places = ((draw.recipe, draw.seed, draw.epoch, draw.start) for draw in (one, other))
    return next(places) == next(places) and (one.order is other.order or torch.equal(one.order, other.order))
