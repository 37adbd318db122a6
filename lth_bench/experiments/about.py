"""What is said about methods, models and data sets: their titles, and of methods the family and the paper."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

FAMILIES = (
    "before training",
    "during training",
    "dynamic",
    "after training",
    "structured",
    "re-parametrised",
    "control",
)
"""When or how methods find what stays; "dynamic" ones grow weights again while they train."""
LONGEST = 60  # characters of a title
PATTERNS = {
    "key": r"[A-Za-z0-9][A-Za-z0-9:_-]*",
    "title": r"[^{}\\\s][^{}\\]*",
    "authors": r"[^{}\\\s][^{}\\]*",
    "venue": r"[^{}\\\s][^{}\\]*",
    "arxiv": r"(\d{4}\.\d{4,5}|[a-z-]+/\d{7})?",
    "code": r"(https://[^\s{}\\]+)?",
}


@dataclass(frozen=True)
class Paper:
    """Where a method was published, as one gets it from a bibliography.

    `key` is that of the BibTeX entry; authors are joined by " and ", `venue` is a conference, "arXiv" or a journal;
    `arxiv` is an id such as "1803.03635", and `code` the address of the authors' repository. Texts are plain Unicode.
    Raises ValueError for a field that is not so.
    """

    key: str
    title: str
    authors: str
    venue: str
    year: int
    arxiv: str = ""
    code: str = ""
    is_journal: bool = False

    def __post_init__(self) -> None:
        for name, pattern in PATTERNS.items():
            if not re.fullmatch(pattern, value := getattr(self, name)):
                raise ValueError(f"the {name} of a paper matches {pattern}, unlike {value!r}")
        if type(self.year) is not int:
            raise ValueError(f"the year of a paper is a whole number, not {self.year!r}")

    @property
    def cited(self) -> str:
        """The paper in a sentence, as "Frankle & Carbin 2019"."""
        first, *others = [author.split()[-1] for author in self.authors.split(" and ")]
        names = first if not others else f"{first} & {others[0]}" if len(others) == 1 else f"{first} et al."
        return f"{names} {self.year}"

    @property
    def link(self) -> str:
        """The address of the paper on arXiv; else that of the code; may be empty."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.code


@dataclass(frozen=True)
class About:
    """What tables, figures and lists say of an item; what nobody stated is empty."""

    title: str = ""
    family: str = ""
    paper: Paper | None = None


def about(item: Any) -> About:
    """What a method, model or data set states with its attributes `title`, `family` and `paper`.

    They are the same for a class and its instances, or properties that depend on parameters and say nothing of the
    class. Raises ValueError where they are not what they have to be.
    """
    stated = {name: getattr(item, name, default) for name, default in vars(About()).items()}
    stated = {name: vars(About())[name] if isinstance(value, property) else value for name, value in stated.items()}
    title, family, paper = stated.values()
    if not isinstance(title, str) or len(title) > LONGEST or title != " ".join(title.split()):
        raise ValueError(f"a title is one line of at most {LONGEST} characters, not {title!r}")
    if family and family not in FAMILIES:
        raise ValueError(f"a family is one of {', '.join(map(repr, FAMILIES))}, not {family!r}")
    if not isinstance(paper, Paper | None):
        raise ValueError(f"a paper is a Paper, not {paper!r}")
    return About(**stated)
