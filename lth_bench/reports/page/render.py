"""Results as one self-contained page of HTML: tables, figures, verdicts, and every record."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lth_bench.reports import analyses, claims, latencies
from lth_bench.reports.escaping import plain
from lth_bench.reports.leaderboards import FORMATS
from lth_bench.reports.numbers import time_spent
from lth_bench.reports.page import listings
from lth_bench.reports.page.boards import boards, placed
from lth_bench.reports.page.content import PageContent
from lth_bench.reports.page.listings import listed
from lth_bench.reports.page.svg import cleaned
from lth_bench.results.claims import Verdict
from lth_bench.results.frame import rows_of
from lth_bench.results.latencies import latencies as measured_latencies
from lth_bench.results.leaderboard import OUTCOMES

EMBEDDED = 2_000  # experiments at most whose records the page holds
LISTED = 10_000  # experiments at most that it lists all; of more, those that did not finish
LONGEST = 600  # characters of a text; the record has all of it
TONES = (*OUTCOMES, "wins", "fails", "unknown", "yes", "no", "unclear", "not comparable", *get_args(Verdict))


def page(content: PageContent) -> str:
    """The page as text; its policy admits its own CSS and script by their hashes, and nothing else."""
    texts = sources()
    parts = {**_head(content), **boards(content), **_analyses(content), **_experiments(content), **_sources(content)}
    inline = {name: Markup(text) for name, text in texts.items()}
    return rendered("page.html", policy=_policy(texts), sources=inline, home=content.home, downloads=FORMATS, **parts)


def sources() -> dict[str, str]:
    """The texts of the style sheet and of the script."""
    templates = files("lth_bench.reports.page") / "templates"
    return {name: (templates / f"page.{name}").read_text("utf-8") for name in ("css", "js")}


def rendered(template: str, **parts: Any) -> str:
    """A page of HTML, with a new line at its end."""
    text = _environment().get_template(template).render(tones=TONES, **parts)
    return text.strip() + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lth_bench.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = lambda text: text.replace("-", "−")
    return environment


def _shown(value: Any) -> Any:
    """A value for the template: text on one line, without invisible characters, and cut if it is long."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = plain(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 4 :]}"


def _policy(texts: Mapping[str, str]) -> str:
    css, script = (base64.b64encode(hashlib.sha256(texts[name].encode()).digest()).decode() for name in ("css", "js"))
    return (
        f"default-src 'none'; style-src 'sha256-{css}'; script-src 'sha256-{script}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _head(content: PageContent) -> dict[str, Any]:
    frame, evidence = content.results.frame, content.results.evidence
    counts = frame["status"].value_counts()
    troubles = [{**trouble._asdict(), "method": trouble.label} for trouble in evidence.troubles[:LISTED]]
    return {
        "title": ", ".join(suite.title for suite in content.suites),
        "descriptions": [suite.description for suite in content.suites if suite.description],
        "counts": [(name, int(counts.get(name, 0))) for name in OUTCOMES],
        "seeds": ", ".join(str(seed) for seed in sorted(set(frame["seed"]))),
        "methods": frame.loc[(frame["control"] == "") & ~frame["helper"], "method"].nunique(),
        "versions": [(name, _versions(counted)) for name, counted in evidence.environment.items() if counted],
        "steps": (f"{evidence.computed:,}", f"{evidence.charged:,}") if evidence.charged else None,
        "work": time_spent(evidence.seconds),
        "troubles": listed("What did not finish", listings.TROUBLES, troubles) if troubles else None,
        "claims": claims.tables(content.claims),
        "speeds": latencies.tables(measured_latencies(content.results)),
    }


def _versions(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count} experiments)" for name, count in sorted(counts.items()))


def _sources(content: PageContent) -> dict[str, Any]:
    return {
        "suites": [(suite.name, _preformatted(suite.text)) for suite in content.files],
        "commands": [f"lth-bench run {argument} --data DIR" for argument in _arguments(content).values()],
    }


def _arguments(content: PageContent) -> dict[str, str]:
    """Each suite on the command line, by its name: its file if the page shows it, else its name."""
    return {
        suite.name: shlex.quote(f"suites/{suite.name}.toml" if suite.text else suite.name) for suite in content.suites
    }


def _preformatted(text: str) -> Markup:
    """Text with its lines and white space."""
    lines = (" ".join(plain(part) for part in line.split(" ")) for line in text.expandtabs(4).splitlines())
    return escape("\n".join(lines))


def _analyses(content: PageContent) -> dict[str, Any]:
    """A section for every analysis, with the anchor that links name."""
    return {
        "analyses": [
            {
                "anchor": f"analysis-{number}",
                "title": section.shown.title,
                "question": section.shown.question,
                "notes": analyses.notes(section.shown),
                "tables": analyses.tables(section.shown),
                "figures": [
                    (caption, cleaned(svg, caption, f"a{number}-{place}-"))
                    for place, (caption, svg) in enumerate(section.figures)
                ],
            }
            for number, section in enumerate(content.analyses)
        ]
    }


def _experiments(content: PageContent) -> dict[str, Any]:
    """A row for every experiment, and the records, as far as a page can hold them."""
    frame = content.results.frame
    shown = frame if len(frame) <= LISTED else frame[frame["status"] != "done"].head(LISTED)
    records = dict(content.results.documents()) if len(frame) <= EMBEDDED and not content.home else {}
    numbers = {key: number for number, key in enumerate(records)}
    arguments = _arguments(content)
    shown = placed(shown, content.leaderboards.names()).assign(
        target=shown["asked"],
        folder=[("records/",) * (status != "missing") for status in shown["status"]],
        record=[numbers.get(key, "") for key in shown["key"]],
        page=[
            f"records/{key}.html" if content.home and status != "missing" else ""
            for key, status in zip(shown["key"], shown["status"], strict=True)
        ],
        command=[command(arguments[name], key) for name, key in zip(shown["suite"], shown["key"], strict=True)],
    )
    return {
        "experiments": listed("Experiments", listings.EXPERIMENTS, rows_of(shown)),
        "records": [_embedded(record) for record in records.values()],
        "left_out": len(frame) - len(shown),
        "example": command(arguments[content.results.frame["suite"].iloc[0]], "KEY"),
    }


def command(argument: str, key: str) -> str:
    """The command that runs an experiment again."""
    only = f"\"key == '{key}'\"" if re.fullmatch(r"\w+", key, re.ASCII) else shlex.quote(f"key == {key!r}")
    return f"lth-bench run {argument} --only {only} --data DIR"


def _embedded(record: str) -> Markup:
    """JSON that cannot end the element of script around it."""
    return Markup(record.replace("<", "\\u003c"))
