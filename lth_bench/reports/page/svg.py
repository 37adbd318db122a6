"""Figures reduced to the elements and attributes with which matplotlib draws, to be embedded in a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup, escape

from lth_bench.reports.escaping import plain

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
JOINS = {"stroke-linejoin": "round", "stroke-linecap": "butt"}  # which matplotlib sets in an element of style
ELEMENTS = frozenset(["svg", "g", "defs", "clipPath", "path", "rect", "text", "use", "image"])
PLACED = "d x y width height transform viewBox clip-path"
DRAWN = "fill stroke stroke-width stroke-linejoin stroke-linecap stroke-dasharray stroke-dashoffset opacity"
LETTERED = "font-size font-family text-anchor"
ATTRIBUTES = frozenset(f"{PLACED} {DRAWN} {LETTERED}".split())
VALUE = re.compile(r"[^\\:@(]*|url\(#[\w.-]+\)|(?:(?:translate|rotate|scale|matrix)\([-+.,\w\s]*\)\s*)+")


def cleaned(svg: str, label: str, prefix: str) -> Markup:
    """The SVG without scripts, styles and links; its ids get a prefix that no other drawing has.

    A group with the id `method-N` gets N as `data-number`. A text that is no SVG becomes a sentence that says so.
    """
    try:
        root = _cleaned(ElementTree.fromstring(svg), prefix)
        if root is None or root.tag != "svg":
            raise ValueError("it is no SVG")
        root.attrib |= {"role": "img", "aria-label": plain(label), **JOINS}
        return Markup(ElementTree.tostring(root, encoding="unicode"))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        return escape(f"This figure cannot be shown: {plain(str(error))}")


def _cleaned(element: ElementTree.Element, prefix: str) -> ElementTree.Element | None:
    name = element.tag.removeprefix(SVG)
    if name not in ELEMENTS:
        return None
    drawing = ElementTree.Element(name, dict(_attributes(element, prefix)))
    if name in ("use", "image") and "href" not in drawing.attrib:
        return None
    if name == "text":
        drawing.text = plain(element.text or "")
    drawing.extend(child for part in element if (child := _cleaned(part, prefix)) is not None)
    return drawing


def _attributes(element: ElementTree.Element, prefix: str) -> Iterator[tuple[str, str]]:
    """The attributes that draw an element, with the declarations of its style, which a policy would forbid."""
    declared = (part.partition(":")[::2] for part in element.get("style", "").split(";"))
    style = {name.strip(): value.strip() for name, value in declared}
    for name, value in {**element.attrib, **style}.items():
        name = name.removeprefix(XLINK)
        if name == "id":
            yield name, prefix + value
            if number := re.match(r"method-(\d+)", value):
                yield "data-number", number[1]
        elif name == "href" and value.startswith("#"):
            yield name, f"#{prefix}{value[1:]}"
        elif (name == "href" and value.startswith("data:image/png;base64,")) or _draws(name, value):
            yield name, value.replace("url(#", f"url(#{prefix}")


def _draws(name: str, value: str) -> bool:
    return name in ATTRIBUTES and VALUE.fullmatch(value) is not None
