"""Files of weights that the models of a suite start from: where they lie, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIXES = (".safetensors", ".pth", ".pt")


def find_weights(name: str, folders: Sequence[Path]) -> Path:
    """The file of this name in the first folder that has it; an absolute path is in none. Raises ValueError."""
    if Path(name).suffix not in SUFFIXES:
        raise ValueError(
            f"the name of a file of weights ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}: {name!r}"
        )
    places = list(dict.fromkeys(_places(name, folders)))
    if found := next((place for place in places if place.is_file()), None):
        return found.absolute()
    looked = " or ".join(map(str, places)) or "any folder"
    raise ValueError(
        f"no file of weights at {looked}; relative paths start at the suite's folder, then at that of --data DIR"
    )


def digest_of(path: Path) -> str:
    """What identifies a file of weights: `sha256:` and the SHA-256 of its bytes. Raises ValueError."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise ValueError(f"the file of weights {path} cannot be read: {error}") from error


def _places(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    return iter([Path(name)] if Path(name).is_absolute() else [folder / name for folder in folders])
