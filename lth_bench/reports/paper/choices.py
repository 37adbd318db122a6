"""What a table for a paper shows: the options of `lth-bench table`, which a TOML file may hold."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lth_bench.experiments.choices import faults_of

Columns = Literal["sparsities", "models", "models*sparsities", "costs"]
Group = Literal["family", "none"]
Spread = Literal["ci", "sd", "none"]
CaptionLength = Literal["full", "short", "none"]
Format = Literal["tex", "md", "csv", "html"]
FORMATS: tuple[str, ...] = get_args(Format)


def _joined(value: Any) -> Any:
    """Names, or numbers, as one text with commas."""
    values = value if isinstance(value, list) else [value]
    return ",".join(map(str, values)) if all(isinstance(one, str | float | int) for one in values) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _renamings(value: Any) -> Any:
    """The table of a list of OLD=NEW."""
    if not isinstance(value, list | tuple):
        return value
    if wrong := [text for text in value if "=" not in str(text).strip("=")]:
        raise ValueError(f"wants NAME=NEW, not {wrong[0]!r}")
    return dict(str(text).rsplit("=", 1) for text in value)


Names = Annotated[str, BeforeValidator(_joined)]
"""Names with commas between, or a list of them."""


class TableChoices(BaseModel):
    """What a table shows, of which `methods` and sparsities, in which order and width, and where it is written.

    `at` are sparsities such as "98%" or 0.98. Methods are renamed from what tables call them, and so are models and
    data sets. With an `analysis`, its table takes the place of the leaderboard's. Differences to the best mean of
    `equivalence` points do not count. With `bib`, a file, methods are cited by the keys of their papers. Paths are
    those of the process that reads them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    directories: Annotated[list[Path], BeforeValidator(_listed)] = []
    columns: Columns = "sparsities"
    at: Names = ""
    methods: Names = ""
    order: Names = ""
    rename: Annotated[dict[str, str], BeforeValidator(_renamings)] = {}
    group: Group = "none"
    controls: bool = True
    published: bool = False
    average: bool = False
    analysis: str = ""
    equivalence: float = Field(default=0.0, ge=0)
    all_revisions: bool = False
    spread: Spread = "ci"
    caption: CaptionLength = "full"
    style: str = ""
    width: str = ""
    star: bool = False
    format: Format | None = None
    bib: Path | None = None
    out: Path | None = None

    @model_validator(mode="after")
    def _fitting(self) -> TableChoices:
        if self.average and not self.columns.startswith("models"):
            raise ValueError(f"average goes with the columns models and models*sparsities, not with {self.columns}")
        if self.form not in FORMATS:
            raise ValueError(f"out {self.out} ends in none of .{', .'.join(FORMATS)}; name a format")
        if self.bib and self.form != "tex":
            raise ValueError(f"bib goes with the format tex, not with {self.form}")
        if self.bib and self.out and self.bib.resolve() == self.out.resolve():
            raise ValueError(f"bib and out are both {self.out}; the table and its bibliography are two files")
        return self

    @property
    def form(self) -> str:
        """The format that was chosen, else that of the file's name, else LaTeX."""
        return self.format or (self.out.suffix[1:].lower() if self.out and self.out.suffix else "tex")


PATHS = ("directories", "bib", "out")


def chosen(directories: list[Path], options: Mapping[str, Any]) -> TableChoices:
    """The choices of a TOML file, if one stands among the directories, and of options, which count more.

    Paths in a file are relative to its folder. Raises ValueError with a line for each fault.
    """
    files = [path for path in directories if path.suffix == ".toml"]
    if len(files) > 1:
        raise ValueError(f"one file of choices makes one table; there are {len(files)}: {', '.join(map(str, files))}")
    kept = _read(files[0]) if files else {}
    if others := [path for path in directories if path not in files]:
        kept["directories"] = others
    given = {name: value for name, value in options.items() if value not in (None, (), [])}
    try:
        choices = TableChoices.model_validate({**kept, **given})
    except ValidationError as error:
        place = f"{files[0]}: " if files else ""
        faults = (
            fault.removeprefix(": ") for fault in faults_of(error, _keys)
        )  # of all keys together: without a place
        raise ValueError("\n".join(f"{place}{fault}" for fault in faults)) from error
    if not choices.directories:
        raise ValueError(f"{files[0]} names no run directories, and none are given; its key is `directories`")
    return choices


def _keys(_: tuple[int | str, ...]) -> list[str]:
    return list(TableChoices.model_fields)


def _read(path: Path) -> dict[str, Any]:
    """The table of a file, its paths relative to the working folder."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the choices of a table in {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error
    return content | {name: _beside(path, content[name]) for name in PATHS if name in content}


def _beside(file: Path, value: Any) -> Any:
    """Paths relative to the folder of a file; what is no text stays for the check."""
    if isinstance(value, list):
        return [_beside(file, item) for item in value]
    return str(file.parent / value) if isinstance(value, str) else value
