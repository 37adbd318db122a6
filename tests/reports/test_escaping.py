"""Whatever a text is, each format shows it as text; real readers of the formats judge that."""

from __future__ import annotations

import csv
import io
import os
import random
import re
import shutil
import subprocess
import unicodedata
from html.parser import HTMLParser
from importlib.util import find_spec
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.text import Text

from lth_bench.reports import escaping
from support.hostile import HOSTILE

SYNTAX = [
    *"\\`*_[](){}<>|$~&#;:/@.,-+=!?\"'%^ \n\t\x1b\u202e\ud800aZ1é中αx",
    "&amp;",
    "www.",
    "https://",
    "a@b.cc",
    "[b]",
]
TEXTS = st.text(st.characters(exclude_categories=())) | st.lists(st.sampled_from(SYNTAX)).map("".join)
ORDINARY = [
    "random, layer-wise as IMP",
    "SNIP (0.5)",
    "lenet_300_100 on mnist",
    "lenet_5 (norm=True, width=0.4)",
    "variational dropout †",
    "97.88 ± 0.13 (+0.42)",
    "–",
    "+0.42",
    "-0.08",
    "96.5%",
    "Äpfel, señor, 中文, α, 😀",
]


def check_plain(text):
    shown = escaping.plain(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", shown)
    assert shown == escaping.plain(shown) == shown.strip()
    shown.encode()  # no surrogate


class Page(HTMLParser):
    """The tags with their attributes, and the text, that a browser would see."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.tags.append(("comment", data))

    handle_decl = handle_pi = unknown_decl = handle_comment


def check_html(text):
    page = Page(f"<p>{escaping.html(text)}</p>")
    assert (page.tags, page.text) == ([("p", [])], escaping.plain(text))
    for quote in "\"'":
        page = Page(f"<p title={quote}{escaping.html(text)}{quote}>")
        assert (page.tags, page.text) == ([("p", [("title", escaping.plain(text))])], "")


PLACES = ["0", "before\n0", "before 0 after", "### 0", "- 0", "> 0", "| a | b |\n|---|---|\n| 0 | end |\n| 0 | end |"]
LIVE = re.compile(r"https?://|ftp://|www\.|\w@\w|@\w|:[\w+-]+:|#\d|\{\{|\{%", re.IGNORECASE)


def check_markdown(text, render):
    shown = escaping.plain(text)
    for place in PLACES if shown else PLACES[-1:]:
        page, model = Page(render(place.replace("0", escaping.markdown(text)))), Page(render(place))
        assert page.tags == model.tags, place
        assert page.text.replace("\u200b", "") == model.text.replace("0", shown), place
        assert not LIVE.search(page.text)


def check_markdown_it(text):
    check_markdown(text, MarkdownIt("commonmark").enable(["table", "strikethrough"]).render)


def check_cmark_gfm(text):
    import cmarkgfm

    footnotes = cmarkgfm.cmark.Options.CMARK_OPT_FOOTNOTES
    check_markdown(text, lambda source: cmarkgfm.github_flavored_markdown_to_html(source, footnotes))


def check_csv(text):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([escaping.csv(text), 1.5])
    file.seek(0)
    [[cell, _]] = csv.reader(file)
    assert not re.match(r"\s*[=+\-@]", unicodedata.normalize("NFKC", cell))
    assert not any(re.match(r"\s*[=+\-@]", part) for part in cell.split(";"))
    assert cell.replace("'", "") == escaping.plain(text).replace("'", "")


def check_terminal(text):
    for system in (None, "truecolor"):
        console = Console(file=io.StringIO(), force_terminal=True, color_system=system, highlight=False)
        console.print(Text(escaping.plain(text)), soft_wrap=True)
        assert console.file.getvalue() == escaping.plain(text) + "\n"


def check_slug(text):
    assert re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", escaping.slug(text))
    assert escaping.slug(text) not in {"con", "nul", "com1"}


GITHUB = pytest.mark.skipif(not find_spec("cmarkgfm"), reason="cmarkgfm, GitHub's own parser, is not installed")
CHECKS = [
    check_plain,
    check_html,
    check_markdown_it,
    pytest.param(check_cmark_gfm, marks=GITHUB),
    check_csv,
    check_terminal,
    check_slug,
]


@pytest.mark.parametrize("check", CHECKS)
def test_hostile_texts_are_shown_and_do_nothing(check):
    for text in [*HOSTILE, *ORDINARY]:
        check(text)


@pytest.mark.parametrize("check", CHECKS)
@settings(deadline=None)
@given(text=TEXTS)
def test_any_text_is_shown_and_does_nothing(check, text):
    check(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_names_stay_as_they_are(text):
    assert escaping.plain(text) == escaping.html(text) == escaping.markdown(text) == text
    assert escaping.figure(text).replace("[U+4E2D][U+6587]", "中文").replace("[U+1F600]", "😀") == text


def test_names_with_syntax_take_few_escapes():
    assert escaping.markdown("imp [rate=0.5]") == r"imp \[rate=0.5\]"
    assert escaping.markdown("acc@1 of a_b_c < 5 & more") == r"acc@&#8203;1 of a_b_c \< 5 & more"
    assert escaping.markdown("1. _x_ -- 2. y_") == r"1\. \_x\_ -- 2. y\_"
    assert escaping.latex("lenet_5 (norm=True) ± 96.5% – †") == r"lenet\_5 (norm=True) $\pm$ 96.5\% -- $\dagger$"
    assert escaping.latex("[rate=0.5] a--b é 中") == r"{}[rate=0.5] a-{}-b é [U+4E2D]"
    assert escaping.csv("+0.42") == "'+0.42"
    assert escaping.slug("lenet_5 (norm=True, width=0.4) on MNIST") == "lenet-5-norm-true-width-0-4-on-mnist"


def program(name):
    """The path of a program that continuous integration has and others may lack."""
    path = shutil.which(name)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    return path or pytest.skip(f"{name} is not installed")


PRINTED = {
    "a--b---c -{}- d": "a--b---c -{}- d",
    "a – b — c −1 ± 2 · 3 × 4 ≤ 5 ≥ 6 †": "a – b — c −1 ± 2 · 3 × 4 ≤ 5 ≥ 6 †",
    '<<a>> |b| "c"': '<<a>> |b| "c"',
    "?`a !`b ''c'' ``d``": "?`a !`b ’’c’’ ``d``",
    r"\input{x} & 50% #1 $2$": r"\input{x} & 50% #1 $2$",
    "[2cm] first": "[2cm] first",
    "*[2cm] second": "*[2cm] second",
    "x² α 中 ﬁ": "x2 α [U+4E2D] fi",
    "{{7*7}} ^^5c": "{{7*7}} ^^5c",
    "Äpfel Škoda Nguyễn": "Äpfel Škoda Nguyen",
}


def sample():
    """Random texts from a fixed seed, and every character that is set in its own way."""
    draw = random.Random(0)
    return [
        *("".join(draw.choices(SYNTAX, k=12)) for _ in range(300)),
        *("".join(chr(draw.randrange(0x3000)) for _ in range(12)) for _ in range(300)),
        *(f"{character}{character} x{character}" for character in [*escaping.TEX, *map(chr, range(0xA0, 0x250))]),
    ]


def document(texts):
    tables = [
        "\\begin{tabular}{lr}\\toprule\n"
        + "".join(f"{escaping.latex(text)} & 1 \\\\\n" for text in texts[start : start + 40])
        + "\\bottomrule\\end{tabular}\\clearpage\n"
        for start in range(0, len(texts), 40)
    ]
    captions = [f"\\begin{{table}}\\caption{{{escaping.latex(text)}}}\\end{{table}}\\clearpage\n" for text in HOSTILE]
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    return "".join([head, *tables, *captions, "\\end{document}\n"])


def test_latex_compiles_and_prints_the_text(tmp_path):
    pdflatex, pdftotext = program("pdflatex"), program("pdftotext")
    (tmp_path / "x.tex").write_text(
        document([*PRINTED, *(40 - len(PRINTED)) * [""], *HOSTILE, *sample()]), encoding="utf-8"
    )
    command = [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "x.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Missing character" not in (tmp_path / "x.log").read_text(errors="replace")
    assert {path.name for path in tmp_path.iterdir()} == {"x.tex", "x.aux", "x.log", "x.pdf"}
    first = subprocess.run([pdftotext, "-l", "1", "x.pdf", "-"], cwd=tmp_path, capture_output=True, check=True)
    printed = unicodedata.normalize("NFC", first.stdout.decode()).replace("ˆ", "^").splitlines()
    assert [line for line in PRINTED.values() if line not in printed] == []


def test_figures_show_every_text_without_a_warning():
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cbook import is_math_text
    from matplotlib.figure import Figure

    labels = [escaping.figure(text) for text in HOSTILE]
    assert not any(is_math_text(label) for label in labels)
    figure = Figure(figsize=(9, 0.6 + 0.22 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for label in labels:
        axes.plot([0, 1], label=label)
    axes.set(title=escaping.figure("$x^2$"), xlabel=escaping.figure("$\\frac$"))
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small")
    assert [text.get_text() for text in legend.get_texts()] == labels
    FigureCanvasAgg(figure).draw()
    figure.set_layout_engine("none")
    drawing = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawing, format="svg")
    texts = [element.text for element in ElementTree.fromstring(drawing.getvalue()).iter() if element.text]
    assert {label.replace(r"\$", "$").strip() for label in labels} <= {text.strip() for text in texts} | {""}
