"""Splits that are read as they are needed, ahead of time by processes of their own."""

from __future__ import annotations

import random
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
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
from lth_bench.errors import DataError
from lth_bench.hashing import canonical, sha256
from lth_bench.randomness import kept_noise, stream_seed

if TYPE_CHECKING:
    from lth_bench.data.examples import Draw
    from lth_bench.experiments.datasets import Listing
    from lth_bench.experiments.recipe import Recipe

CPU = torch.device("cpu")
MODES = {1: "L", 3: "RGB"}  # of PIL images, by channels
TRIALS = 64  # of transforms, some of which act by chance
IN_MEMORY = ("crop", "flip", "cutout")
OURS = {"input_size", "is_training", "mean", "std", "use_prefetcher", "normalize", "separate", "tf_preprocessing"}
SEQUENCES = {"naflex", "patch_size", "max_seq_len", "patchify", "patchify_channels_last", "patchify_flatten"}

Read = Tensor | DataError


class LazyExamples:
    """A split that is read as it is needed, like Examples; images of any size become squares.

    `loaders` processes read ahead, but what comes does not depend on them. All that reads raises DataError for an image
    that cannot be read.
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
        center, spread = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
        self._scale, self._shift = (1 / (255 * spread)).to(device), (-center / spread).to(device)
        self._next: Draw | None = None
        self._ahead: list[Iterator[Read]] = []
        weakref.finalize(self, self._ahead.clear)  # a loader that is part of a cycle ends only after a timeout

    def __len__(self) -> int:
        return len(self._index)

    def batch(self, index: Tensor | slice) -> Batch:
        """Examples as they are evaluated: resized, and cut out of the centre."""
        chosen = torch.arange(len(self))[index if isinstance(index, slice) else index.cpu()]
        return self._batch(next(_read(self._evaluated(), [chosen], 0)), chosen)

    def chunks(self, size: int) -> Iterator[Batch]:
        """The whole split in order, as it is evaluated."""
        parts = torch.arange(len(self)).split(size)
        ahead = _read(self._evaluated(), parts, self._loaders, self._pinned)
        try:
            for part in parts:
                yield self._batch(next(ahead), part)
        finally:
            del ahead  # ends its processes, even while a traceback keeps this frame

    def training_batches(self, draws: Iterable[Draw]) -> Iterator[Batch]:
        return map(self.training_batch, draws)

    def training_batch(self, draw: Draw) -> Batch:
        """Augmented examples; what happens to one is a function of (seed, epoch, its place in the split)."""
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

    def digest(self) -> str:
        """Hash of what the listing stands for, of the choice of examples, and of how they enter the network."""
        about = canonical([self._listing.digest, self.shape, self._mean, self._std])
        return sha256(about.encode() + self._index.numpy().tobytes())

    def faults(self, recipe: Recipe) -> list[str]:
        """What of a recipe cannot be done with these images."""
        found = [name for name in IN_MEMORY if getattr(recipe, name)]
        faults = [f"{', '.join(found)}: for images in memory; here there are transforms"] if found else []
        if unfit := sorted((OURS | SEQUENCES) & recipe.transforms.keys()):
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
        """Reads ahead to the end of the epoch, but for an incomplete last batch."""
        self.close()
        order, size = draw.order[draw.start :].cpu(), draw.recipe.batch_size
        whole = order[: max(size, len(order) // size * size)]
        transform = self._transform(draw.recipe.transforms)
        images = _Images(self._listing.open, self._index, transform, (draw.seed, draw.epoch))
        self._ahead.append(_read(images, whole.split(size), self._loaders, self._pinned))

    def _transform(self, arguments: dict[str, Any]) -> Callable[[Image.Image], Tensor]:
        """timm's; bytes are normalised on the device, unless random erasing asks for it earlier."""
        erases = arguments.get("re_prob", 0) > 0
        transform: Callable[[Image.Image], Tensor] = create_transform(
            self._listing.size, is_training=True, mean=self._mean, std=self._std, use_prefetcher=not erases, **arguments
        )
        return transform

    def _evaluated(self) -> _Images:
        return _Images(self._listing.open, self._index, create_transform(self._listing.size, use_prefetcher=True))

    def _batch(self, inputs: Read, index: Tensor) -> Batch:
        if isinstance(inputs, DataError):
            raise inputs
        inputs = inputs.to(self._device, non_blocking=True)
        if inputs.dtype == torch.uint8:
            inputs = inputs.to(self._scale.dtype).mul_(self._scale).add_(self._shift)
        return Batch(inputs, self.labels[index.to(self._device)])


@dataclass(frozen=True)
class _Images(Dataset[Read]):
    """Images of a split as tensors, varied at random where there is a noise: a seed and an epoch."""

    open: Callable[[int], Image.Image]
    index: Tensor
    transform: Callable[[Image.Image], Tensor]
    noise: tuple[int, int] | None = None

    def __getitem__(self, i: int) -> Read:
        """Errors are passed on, so that they come out of a loader as they are."""
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
    """Starts all random streams that transforms draw from, and puts them back afterwards."""
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


def _read(images: _Images, parts: Iterable[Tensor], loaders: int, pinned: bool = False) -> Iterator[Read]:
    """The images of these parts as one tensor each."""
    chosen = (part.tolist() for part in parts)
    if not loaders:
        return (_together([images[i] for i in part]) for part in chosen)
    loader = DataLoader(
        images,
        batch_sampler=chosen,
        num_workers=loaders,
        collate_fn=_together,
        pin_memory=pinned,
        generator=torch.Generator(),  # else it draws from torch's own stream
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )
    with warnings.catch_warnings(action="ignore"):  # of more loaders than cores, and of forking beside threads
        return iter(loader)


def _together(images: list[Read]) -> Read:
    error = next((image for image in images if isinstance(image, DataError)), None)
    if error is not None:
        return error
    together: Tensor = default_collate(images)
    return together


def _same(one: Draw, other: Draw) -> bool:
    """Whether two draws are the same batch."""
    places = ((draw.recipe, draw.seed, draw.epoch, draw.start) for draw in (one, other))
    return next(places) == next(places) and (one.order is other.order or torch.equal(one.order, other.order))
