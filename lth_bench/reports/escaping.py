"""Escapes texts that strangers wrote: every format shows them as text, and nothing in them takes effect."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache
from html import escape

INVISIBLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Controls, bidirectional and zero-width characters, fillers, surrogates; listed, so that all Pythons agree."""
MARK = "\0"  # marks a place to be filled; no plain text contains it


def plain(text: str) -> str:
    """One line, white space collapsed, with what steers a terminal or cannot be seen spelled out: `\\x1b`."""
    return INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), " ".join(text.split()))


def html(text: str) -> str:
    """The text as content of an element, or of an attribute in quotes."""
    return escape(plain(text))


LIVE = re.compile(r"www(?=\.)|:(?=//|[\w+-]+:)|@(?=[\w-])|#(?=\d)|\{(?=[{%])", re.IGNORECASE)
"""Beginnings of links, emoji, mentions, issues and templates, which GitHub finds in text however it is escaped."""
INLINE = re.compile(r"[\\`*\[\]<|$~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|(?<= )#(?=#*$)")
BLOCK = re.compile(r"^(?:(?=[-+](?: |$)|#+(?: |$)|>|[-=:][-=: ]*$)|\d+(?=[.)](?: |$)))")


def markdown(text: str) -> str:
    """The text for a paragraph, a heading, a list item or a cell of a table in GitHub-flavoured Markdown."""
    marked = LIVE.sub(rf"\g<0>{MARK}", plain(text))
    inline = INLINE.sub(r"\\\g<0>", marked)
    return BLOCK.sub(r"\g<0>\\", inline).replace(MARK, "&#8203;")  # a zero-width space


SYMBOLS = {
    "αβγδεζηθικλμ": "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu",
    "νξπρστυφχψω": "nu xi pi rho sigma tau upsilon varphi chi psi omega",
    "ΓΔΘΛΞΠΣΦΨΩ": "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega",
    "±×÷·≤≥≠≈∞→←†‡": "pm times div cdot leq geq neq approx infty to leftarrow dagger ddagger",
}
NAMES = dict(zip("".join(SYMBOLS), " ".join(SYMBOLS.values()).split(), strict=True))
DIGITS = "0123456789+-"
TEX = {
    **{special: f"\\{special}" for special in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\`{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\texttt{\char34}"},
    **{"‘": "`", "’": "'", "“": "``", "”": "''", "‐": "-", "–": "--", "—": "---", "−": "$-$", "⁄": "/"},
    **{"…": r"\ldots{}", "°": r"$^{\circ}$", "§": r"\S{}", MARK: "{}"},
    **{symbol: f"$\\{name}$" for symbol, name in NAMES.items()},
    **{raised: f"$^{{{digit}}}$" for raised, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", DIGITS, strict=True)},
    **{lowered: f"$_{{{digit}}}$" for lowered, digit in zip("₀₁₂₃₄₅₆₇₈₉₊₋", DIGITS, strict=True)},
}
UNACCENTED = "ÐÞðþĄąĐđĘęĦħĮįĲĳĸĿŀŉŊŋŦŧŲų"  # not in OT1, LaTeX's default encoding
JOINS = re.compile(r"^(?=[\[*])|(?<=[-–—,'‘’“”])(?=[-–—,'‘’“”])|(?<=[!?])(?=[‘“])")
"""Where `\\\\` would look for an argument, and between characters that would become another."""


def latex(text: str) -> str:
    """The text for LaTeX's text mode under pdflatex without packages; what cannot be set becomes `[U+4E2D]`."""
    return "".join(TEX.get(character, character) for character in JOINS.sub(MARK, settable(text)))


def settable(text: str) -> str:
    """The text on one line, with substitutes for what pdflatex cannot set without packages; not yet escaped."""
    return "".join(map(_settable, unicodedata.normalize("NFC", plain(text))))


def _settable(character: str) -> str:
    """A character if pdflatex can set it, else its parts without accents, else its number."""
    if _is_settable(character):
        return character
    parts = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    return parts if parts.strip() and all(map(_is_settable, parts)) else _number(character)


def _is_settable(character: str) -> bool:
    return character.isascii() or character in TEX or ("À" <= character <= "ž" and character not in UNACCENTED)


def _number(character: str) -> str:
    return f"[U+{ord(character):04X}]"


FORMULA = re.compile(r"(^|; ?)(?=[=+\-@＝＋－＠])")  # a semicolon begins a cell where decimals have commas


def csv(text: str) -> str:
    """The text for a cell, so that no spreadsheet takes it for a formula; the writer of the file adds the quotes."""
    return FORMULA.sub(r"\1'", plain(text))


LONGEST = 60  # characters; even the widest of them leave room for the figure beside its legend


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text, without its middle if it is longer than that."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[half + 1 - longest :]}"


def figure(text: str) -> str:
    """The text for a title, label or legend of matplotlib: no mathematics, no missing glyph, hidden by no legend."""
    drawn = "".join(character if ord(character) in _glyphs() else _number(character) for character in plain(text))
    short = shortened(drawn)
    hidden = not short or short.startswith("_")
    return " " * hidden + short.replace("$", r"\$")


@cache
def _glyphs() -> frozenset[int]:
    """The characters that the font of matplotlib has."""
    from matplotlib.font_manager import findfont, get_font  # takes a second to import

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


RESERVED = re.compile(r"con|prn|aux|nul|(?:com|lpt)\d")  # no file on Windows may have these names


def slug(text: str) -> str:
    """A file name `[a-z0-9][a-z0-9-]{0,63}`, or a hash if no letter or digit remains; two texts may share one."""
    ascii_text = unicodedata.normalize("NFKD", plain(text)).encode("ascii", "ignore").decode()
    name = re.sub("[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:64].rstrip("-")
    if not name or RESERVED.fullmatch(name):
        return hashlib.sha256(plain(text).encode()).hexdigest()[:16]
    return name
