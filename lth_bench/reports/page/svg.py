"""Drawings of others made fit to stand in a page: SVG elements and attributes that draw, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup, escape

from lth_bench.reports.escaping import plain

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
JOINS = {"stroke-linejoin": "round", "stroke-linecap": "butt"}  # which matplotlib sets in an element of style
DRAWN = """
svg g defs clipPath path rect circle ellipse line polyline polygon text tspan use image symbol marker pattern stop
linearGradient radialGradient
"""
GEOMETRY = """
d x y x1 y1 x2 y2 cx cy r rx ry dx dy fx fy width height points transform viewBox preserveAspectRatio offset orient
refX refY clipPathUnits gradientUnits gradientTransform patternUnits patternTransform markerWidth markerHeight
markerUnits
"""
STYLE = """
fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit
stroke-dasharray stroke-dashoffset opacity font-family font-size font-style font-weight font-stretch font-variant
text-anchor dominant-baseline baseline-shift clip-path clip-rule stop-color stop-opacity visibility paint-order
marker-start marker-mid marker-end
"""
ELEMENTS, PROPERTIES = frozenset(DRAWN.split()), frozenset(STYLE.split())
ATTRIBUTES = PROPERTIES | set(GEOMETRY.split())
REFERENCE = re.compile(r"url\(#([\w.-]+)\)")
TRANSFORM = re.compile(r"(?:(?:translate|rotate|scale|matrix|skewX|skewY|rgb|rgba)\([-+.,%\w\s]*\)[\s,]*)+")


def cleaned(svg: str, label: str, prefix: str) -> Markup:
    """An SVG of plain drawing alone: no script, style or link, and ids with a prefix that no other drawing has.

    Groups with the id `method-N` get N as `data-number`; what is no SVG becomes a sentence that says so.
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
    kept = ElementTree.Element(name, dict(_attributes(element, prefix)))
    if name in ("use", "image") and "href" not in kept.attrib:
        return None
    if name in ("text", "tspan"):
        kept.text = plain(element.text or "")
    for found in element:
        if (child := _cleaned(found, prefix)) is not None:
            child.tail = plain(found.tail or "") if kept.text is not None else None
            kept.append(child)
    return kept


def _attributes(element: ElementTree.Element, prefix: str) -> Iterator[tuple[str, str]]:
    """What an element is drawn by; declarations of its style as attributes, which no policy forbids."""
    styles = (part.partition(":")[::2] for part in element.get("style", "").split(";"))
    declared = {name.strip(): value.strip() for name, value in styles if name.strip() in PROPERTIES}
    for name, value in {**element.attrib, **declared}.items():
        name = name.removeprefix(XLINK)
        if name == "id":
            yield name, prefix + value
            if found := re.match(r"method-(\d+)", value):
                yield "data-number", found[1]
        elif name == "href" and value.startswith("#"):
            yield name, f"#{prefix}{value[1:]}"
        elif name == "href" and value.startswith("data:image/png;base64,"):
            yield name, value
        elif name in ATTRIBUTES and (drawn := _local(value, prefix)) is not None:
            yield name, drawn


def _local(value: str, prefix: str) -> str | None:
    """A value with its references under their new names; None if it refers to anything else."""
    rest = REFERENCE.sub("", value)
    return (
        None
        if re.search(r"\\|\w\(", rest) and not TRANSFORM.fullmatch(rest)
        else REFERENCE.sub(rf"url(#{prefix}\1)", value)
    )
