"""Documents of the widths, heights and fonts that the classes of venues have, and what LaTeX says of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

COLUMNS = r"\documentclass[10pt,twocolumn]{article}\usepackage[letterpaper,textwidth=%s,textheight=%s]{geometry}"
SINGLE = r"\documentclass[10pt]{article}\usepackage[letterpaper,textwidth=5.5in,textheight=9in]{geometry}"
AUTHORS, NUMBERS = r"\usepackage{natbib}\bibliographystyle{plainnat}", r"\bibliographystyle{plain}"
CLASSES = {
    "neurips": SINGLE + AUTHORS,
    "iclr": SINGLE + AUTHORS,
    "icml": COLUMNS % ("6.75in", "9in") + r"\setlength{\columnsep}{0.25in}" + AUTHORS,
    "cvpr": COLUMNS % ("6.875in", "8.875in") + r"\setlength{\columnsep}{0.3125in}" + NUMBERS,
    "ieee": COLUMNS % ("516pt", "696pt") + r"\setlength{\columnsep}{12pt}" + NUMBERS,
}
PREAMBLE = r"""\usepackage{mathptmx,booktabs,graphicx,longtable}
\let\scaled\resizebox
\def\resizebox#1#2#3{\sbox0{#3}\typeout{Table of \the\wd0 in \the\linewidth}\scaled{#1}{#2}{#3}}
"""


def program(name):
    """A program of LaTeX; what needs it is skipped where it is absent, but not in CI."""
    found = shutil.which(name)
    if found is None:
        if "CI" in os.environ:
            pytest.fail(f"{name} is missing")
        pytest.skip(f"{name} is missing")
    return found


def typeset(folder, preamble, texts, bib=None):
    """The last log of pdflatex for tables in a document, with a bibliography if they cite one."""
    latex = [program("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    for number, text in enumerate(texts):
        (folder / f"table{number}.tex").write_text(text)
    body = "\n".join(rf"\input{{table{number}.tex}}\clearpage" for number in range(len(texts)))
    end = ""
    if bib is not None:
        (folder / "paper.bib").write_text(bib)
        end = r"\bibliography{paper}"
    (folder / "paper.tex").write_text(f"{preamble}\n\\begin{{document}}\n{body}\n{end}\n\\end{{document}}\n")
    for command in [latex] if bib is None else [latex, [program("bibtex"), "paper"], latex, latex]:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
    return (folder / "paper.log").read_text(errors="replace")


def complaints(log, slack=1.0):
    """What a page cannot hold, but for so many points, and what LaTeX lost or does not know."""
    wide = [float(points) for points in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt", log)]
    lost = re.findall(r"Float too large.*|Missing character.*|multiply.defined.*", log)
    return [points for points in wide if points > slack] + lost


def unresolved(log):
    return re.findall(r"(?:Citation|Reference) .* undefined", log.replace("\n", ""))


def shrunk(log):
    """How wide tables would be, in parts of the text that they stand in."""
    pairs = re.findall(r"Table of ([\d.]+)pt ?in ([\d.]+)pt", log)
    return [float(width) / float(text) for width, text in pairs]
