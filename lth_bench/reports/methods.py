"""The names of methods, and what stands behind them: their parameters, recipe, family and paper."""

from __future__ import annotations

import re
from typing import Any

from lth_bench.experiments.about import About, Paper
from lth_bench.reports.escaping import latex, plain
from lth_bench.results.frame import Results, rows_of
from lth_bench.results.leaderboard import Leaderboards
from lth_bench.storage.record import Methods


def said(methods: Methods, row: Any) -> About:
    """What a row's control says of itself, or its pruner if it has none."""
    kind = "control" if row["control"] else "pruner"
    return methods.get(kind, {}).get(row[kind], About())


def named(text: str, methods: list[str]) -> list[str]:
    """The methods named in a list with commas; names may contain commas too, and the longest that fits is taken.

    Raises ValueError for a name that no method has.
    """
    any_name = "|".join(re.escape(name) for name in sorted(methods, key=len, reverse=True))
    item = re.compile(rf"(?:^|(?<=,))\s*({any_name})\s*(?:,|$)")
    if wrong := item.sub("", text).strip():
        there = "; ".join(map(plain, methods))
        raise ValueError(f"no method {plain(wrong.split(',')[0])!r} (of {plain(text)!r}); there are: {there}")
    return item.findall(text)


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


def bibliography(methods: Methods, rows: list[Any]) -> str:
    """The BibTeX entries of the papers of rows, ordered by key. Raises ValueError if two papers have one key."""
    entries: dict[str, Paper] = {}
    for paper in filter(None, (said(methods, row).paper for row in rows)):
        if entries.setdefault(paper.key, paper) != paper:
            raise ValueError(f"two papers have the key {paper.key!r}: {entries[paper.key].title!r} and {paper.title!r}")
    return "\n\n".join(_bibtex(entries[key]) for key in sorted(entries)) + "\n"


def _bibtex(paper: Paper) -> str:
    is_preprint = paper.venue == "arXiv"
    place = {"journal": f"arXiv:{paper.arxiv}"} if is_preprint else {"booktitle": latex(paper.venue)}
    eprint = {"eprint": paper.arxiv, "archiveprefix": "arXiv"} if paper.arxiv else {}
    fields = {"title": f"{{{latex(paper.title)}}}", "author": latex(paper.authors), **place, "year": str(paper.year)}
    lines = [f"  {name} = {{{value}}}," for name, value in (fields | eprint).items()]
    return "\n".join([f"@{'article' if is_preprint else 'inproceedings'}{{{paper.key},", *lines, "}"])
