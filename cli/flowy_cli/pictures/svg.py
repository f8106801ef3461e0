"""SVG and HTML as trees of elements: whatever a text holds, it stays text.

Strings are never joined to markup; the serializer of the standard library escapes. Looks are classes and attributes, not
`style`: a page with a strict content policy has none of that.
"""

import re
from functools import cache
from xml.etree import ElementTree as ET

from flowy_cli.pictures.words import visible

Element = ET.Element

NAMESPACE = "http://www.w3.org/2000/svg"

_LIGHT = {
    "ink": "#1f2328",
    "soft": "#59636e",
    "page": "#ffffff",
    "panel": "#f6f8fa",
    "line": "#d1d9e0",
    "ok": "#1a7f37",
    "ok-fill": "#eefbf1",
    "bad": "#cf222e",
    "bad-fill": "#ffebe9",
    "run": "#0969da",
    "run-fill": "#ddf4ff",
    "late": "#9a6700",
    "late-fill": "#fff8c5",
    "off": "#818b98",
    "off-fill": "#f6f8fa",
    "path": "#8250df",
    "wait": "#b6c2cf",
}
_DARK = {
    "ink": "#f0f6fc",
    "soft": "#9198a1",
    "page": "#0d1117",
    "panel": "#151b23",
    "line": "#3d444d",
    "ok": "#3fb950",
    "ok-fill": "#12261e",
    "bad": "#ff7b72",
    "bad-fill": "#2d1314",
    "run": "#4493f8",
    "run-fill": "#121d2f",
    "late": "#d29922",
    "late-fill": "#272115",
    "off": "#9198a1",
    "off-fill": "#151b23",
    "path": "#d2a8ff",
    "wait": "#4b5563",
}
"""Colours by their names in styles, `var(--ink)`. A report has a button, and declares them as such."""

_COLOUR = re.compile(r"var\(--([\w-]+)\)")


def _coloured(style: str) -> str:
    """With the colours themselves: what draws SVG outside of browsers knows no variables, and would draw all of it in black."""
    light = _COLOUR.sub(lambda found: _LIGHT[found[1]], style)
    dark = _COLOUR.sub(lambda found: _DARK[found[1]], style)
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}"


def element(name: str, parent: Element | None = None, text: str | None = None, /, **attributes: object) -> Element:
    """An element, put into `parent` if there is one. A trailing `_` of an attribute's name goes, others become dashes."""
    given = {_attribute(key): _written(value) for key, value in attributes.items() if value is not None}
    made = ET.Element(name, given) if parent is None else ET.SubElement(parent, name, given)
    if text is not None:
        made.text = visible(text)
    return made


def follow(made: Element, text: str) -> None:
    """Put a text behind an element."""
    made.tail = visible(text)


def _written(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else visible(str(value))


@cache  # a picture has tens of thousands of attributes, of a dozen names
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def picture(width: float, height: float, title: str, style: str) -> Element:
    """An SVG that stands alone: with its title and its style inside, light, and dark where the reader's screen is."""
    root = element("svg", None, xmlns=NAMESPACE, viewBox=f"0 0 {width:.0f} {height:.0f}", width=width, height=height)
    root.set("role", "img")
    element("title", root, title)
    element("style", root, _coloured(style))
    return root


def written(root: Element) -> str:
    """The text of an SVG."""
    return ET.tostring(root, encoding="unicode") + "\n"
