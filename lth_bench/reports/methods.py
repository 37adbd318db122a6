"""The names of methods, and what stands behind them: their parameters, recipe, family and paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lth_bench.experiments.about import About, Paper
from lth_bench.reports.escaping import latex, plain
from lth_bench.reports.table import Table
from lth_bench.results.frame import Results, rows_of
from lth_bench.results.leaderboard import Leaderboards
from lth_bench.storage.record import Methods


def said(methods: Methods, row: Any) -> About:
    """What a row's control says of itself, or its pruner if it has none."""
    kind = "control" if row["control"] else "pruner"
    return methods.get(kind, {}).get(row[f"{kind}_choice"], About())


REVISION = re.compile(r", revision \d+$")


def named(text: str, methods: list[str]) -> list[str]:
    """The methods named in a list with commas, in upper or lower case, with or without a revision.

    Names may contain commas too, and the longest that fits is taken. Raises ValueError for a name that no method has,
    or that is only in its case unlike those of several.
    """
    known = {REVISION.sub("", name): name for name in methods} | {name: name for name in methods}
    any_name = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    item = re.compile(rf"(?:^|(?<=,))\s*({any_name})\s*(?:,|$)", re.IGNORECASE)
    if wrong := item.sub("", text).strip():
        there = "; ".join(map(plain, methods))
        raise ValueError(f"no method {plain(wrong.split(',')[0])!r} (of {plain(text)!r}); there are: {there}")
    return [known[_spelled(found, list(known))] for found in item.findall(text)]


def _spelled(name: str, methods: list[str]) -> str:
    """The method of this name; its own spelling counts first."""
    if name in methods:
        return name
    alike = [method for method in methods if re.fullmatch(re.escape(name), method, re.IGNORECASE)]
    if len(alike) > 1:
        raise ValueError(f"{plain(name)!r} may be {' or '.join(map(plain, alike))}: write it as the one that is meant")
    return alike[0]


def described(results: Results, leaderboards: Leaderboards) -> list[dict[str, Any]]:
    """A record for each method: `pruner` and `control` with their parameters, `recipes`, `family`, `paper`, `link`."""
    records = []
    for method, rows in leaderboards.rows.groupby("method", sort=False):
        first = rows_of(rows.head(1))[0]
        paper = said(results.methods, first).paper
        records.append(
            {
                "method": method,
                "pruner": first["pruner_choice"],
                "control": first["control_choice"],
                "recipes": ", ".join(dict.fromkeys(rows["trained_with"])),
                "family": first["family"],
                "paper": paper.cited if paper else "",
                "link": paper.link if paper else "",
            }
        )
    return records


def bibliography(methods: Methods, tables: Sequence[Table]) -> str:
    """The BibTeX entries that tables cite, ordered by key.

    Raises ValueError if they cite none, or if two papers have one key.
    """
    cited = {cell.citation for table in tables for row in table.rows for cell in row.cells}
    entries: dict[str, Paper] = {}
    for paper in (about.paper for said in methods.values() for about in said.values()):
        if paper and paper.key in cited and entries.setdefault(paper.key, paper) != paper:
            raise ValueError(f"two papers have the key {paper.key!r}: {entries[paper.key].title!r} and {paper.title!r}")
    if not entries:
        raise ValueError(
            "no method of these tables states its paper; run the suite again, which does not repeat its experiments, "
            "with plugins that do"
        )
    return "\n\n".join(bibtex(entries[key]) for key in sorted(entries)) + "\n"


def bibtex(paper: Paper) -> str:
    """The entry of a paper in a bibliography."""
    is_article = paper.is_journal or paper.venue == "arXiv"
    place = {"journal" if is_article else "booktitle": latex(paper.venue)}
    eprint = {"eprint": paper.arxiv, "archiveprefix": "arXiv"} if paper.arxiv else {}
    fields = {"title": f"{{{latex(paper.title)}}}", "author": latex(paper.authors), **place, "year": str(paper.year)}
    lines = [f"  {name} = {{{value}}}," for name, value in (fields | eprint).items()]
    return "\n".join([f"@{'article' if is_article else 'inproceedings'}{{{paper.key},", *lines, "}"])
