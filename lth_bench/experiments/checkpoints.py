"""timm's own checkpoints: where they lie in its cache, how they get there, and what they say of their inputs.

Only suites that ask for one import timm here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from lth_bench.experiments.adapters import Normalisation

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

HUB_NAMES = ("model.safetensors", "pytorch_model.bin")  # the order in which timm looks for them


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that timm has for a model, and the normalisation of the images that it was trained on."""

    path: Path
    normalisation: Normalisation


def cached(model: str) -> Checkpoint:
    """timm's checkpoint of a model, whose name may end in a tag, from its cache. Raises ValueError."""
    about = _configuration(model)
    if (path := _found(about)) is None:
        raise ValueError(
            f"timm's cache has no checkpoint of {model!r}, {_origin(about)}; `lth-bench run --download` fetches it, or "
            "name a file by weights = 'PATH'"
        )
    return Checkpoint(path, Normalisation(tuple(map(float, about.mean)), tuple(map(float, about.std))))


def is_absent(model: str) -> bool:
    """Whether timm has a checkpoint of a model that its cache lacks."""
    try:
        return _found(_configuration(model)) is None
    except ValueError:
        return False


def fetch(model: str) -> None:
    """Fetches timm's checkpoint of a model into the cache. Raises ValueError."""
    about = _configuration(model)
    try:
        _fetch_url(about.url) if not about.hf_hub_id else _fetch_from_hub(about)
    except Exception as error:  # of several libraries for the network, and of the disk
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"the checkpoint of {model!r}, {_origin(about)}, cannot be fetched: {reason}") from error


def _configuration(model: str) -> PretrainedCfg:
    import timm

    architecture = model.partition(".")[0]
    known = ", ".join(timm.list_pretrained(f"{architecture}.*"))
    remedy = f"known: {known}" if known else "name a file by weights = 'PATH'"
    try:
        about = timm.get_pretrained_cfg(model, allow_unregistered=True)
    except RuntimeError:  # another tag
        about = None
    if about is None or not about.has_weights:
        raise ValueError(f"timm has no checkpoint of {model!r}; {remedy}")
    return about


def _found(about: PretrainedCfg) -> Path | None:
    """The file of a checkpoint, if it is there."""
    if about.file:
        places = [Path(about.file)]
    elif about.hf_hub_id:
        return next(filter(None, map(_in_hub_cache(about.hf_hub_id), _hub_names(about))), None)
    else:
        places = [_place_of(about.url)]
    return next((place for place in places if place.is_file()), None)


def _in_hub_cache(identifier: str) -> Callable[[str], Path | None]:
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = identifier.partition("@")

    def found(name: str) -> Path | None:
        path = try_to_load_from_cache(repository, name, revision=revision or None)
        return Path(path) if isinstance(path, str) and Path(path).is_file() else None

    return found


def _hub_names(about: PretrainedCfg) -> tuple[str, ...]:
    if not (name := about.hf_hub_filename):
        return HUB_NAMES
    return tuple(dict.fromkeys([str(PurePosixPath(name).with_suffix(".safetensors")), name]))


def _fetch_from_hub(about: PretrainedCfg) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = str(about.hf_hub_id).partition("@")
    download = partial(hf_hub_download, repository, revision=revision or None)
    *others, last = _hub_names(about)
    for name in others:
        try:
            download(name)
            return
        except LocalEntryNotFoundError:  # the hub cannot be reached
            raise
        except EntryNotFoundError:  # the repository lacks this file
            continue
    download(last)


def _fetch_url(url: Any) -> None:
    import torch.hub

    place = _place_of(url)
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url if isinstance(url, str) else url[0], str(place), progress=False)


def _place_of(url: Any) -> Path:
    """Where torch's cache keeps the file of a URL, which timm may give together with a name."""
    import torch.hub

    name = PurePosixPath(urlparse(url).path).name if isinstance(url, str) else url[1]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _origin(about: PretrainedCfg) -> str:
    return f"{about.hf_hub_id} on Hugging Face" if about.hf_hub_id else f"{about.file or about.url}"
