"""From a matplotlib figure to an SVG element that belongs to its page.

matplotlib writes a file: with a prolog, fixed colours, inline styles and ids that collide as soon
as two figures share a page. Here it becomes an element whose colours are the page's (light and
dark), whose styles are classes of the page's one style sheet (its content-security policy allows no
inline styles), and whose ids are its own. Numbers are rounded to what can be seen.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours to draw with; each stands for a variable of the page's style sheet.
INK, MUTED, RULE, BAND, PAPER = "#010101", "#010102", "#010103", "#010104", "#010105"
UP, DOWN = "#010106", "#010107"
SERIES = ("#010110", "#010111", "#010112", "#010113", "#010114", "#010115")

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    BAND: "var(--band)",
    PAPER: "var(--paper)",
    UP: "var(--up)",
    DOWN: "var(--down)",
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES, 1)},
}

_OURS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 10.0,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "svg.hashsalt": "lem",
}
_LEFT = ("backend", "webagg", "toolbar", "timezone", "interactive", "tk.", "date.", "docstring")
_SVG = "{http://www.w3.org/2000/svg}"
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")


@contextmanager
def drawing() -> Iterator[None]:
    """Draw the same on every machine: a user's own matplotlibrc has no say here."""
    import logging
    import warnings

    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # a font without the letters of some name: the reader's browser has others
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
        for name, value in matplotlib.rcParamsDefault.items():
            if not name.startswith(_LEFT) and name not in _OURS:
                matplotlib.rcParams[name] = value
        matplotlib.rcParams.update(_OURS)
        yield


class Sheet:
    """The styles of all figures of a page, each of them once."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def name(self, style: str) -> str:
        """The class of a style; the same style has the same class."""
        return self._classes.setdefault(style, f"p{len(self._classes)}")

    def css(self) -> str:
        """The rules, in the order in which they came."""
        return "\n".join(f".{name}{{{style}}}" for style, name in self._classes.items())


def render(figure: Figure, name: str, title: str, description: str, sheet: Sheet) -> str:
    """The figure as an SVG element.

    Args:
        name: unique on the page; all ids begin with it.
        title: what it is, for those who do not see it; `description`: what it shows.
        sheet: takes up its styles.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
    root = ET.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", out.getvalue(), count=1))
    ids = {
        found: f"{name}-{i}"
        for i, found in enumerate(e.get("id", "") for d in root.iter(f"{_SVG}defs") for e in d)
        if found
    }
    writer = _Writer(ids, sheet)
    for child in root:
        writer.write(child)
    # matplotlib's unit is the point; so is ours, which CSS lets grow with the page
    return (
        f'<svg role="img" viewBox="{root.get("viewBox")}" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}'
        f"</desc>{''.join(writer.parts)}</svg>"
    )


class _Writer:
    def __init__(self, ids: dict[str, str], sheet: Sheet) -> None:
        self.ids, self.sheet = ids, sheet
        self.parts: list[str] = []

    def write(self, element: ET.Element) -> None:
        tag = element.tag.removeprefix(_SVG)
        if tag == "style" or "}" in tag or tag == "metadata":
            return
        attributes = self._attributes(element, tag)
        if tag == "defs" and not any(child.tag != f"{_SVG}style" for child in element):
            return
        if tag == "g" and not attributes:  # matplotlib's own structure says nothing here
            for child in element:
                self.write(child)
            return
        told = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
        text = (element.text or "") if tag in ("text", "tspan") else ""
        if not len(element) and not text:
            self.parts.append(f"<{tag}{told}/>")
            return
        self.parts.append(f"<{tag}{told}>{escape(text, quote=False)}")
        for child in element:
            self.write(child)
        self.parts.append(f"</{tag}>")

    def _attributes(self, element: ET.Element, tag: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for full, value in element.attrib.items():
            name = full.rpartition("}")[2]
            if name == "id":
                if value in self.ids:
                    found["id"] = self.ids[value]
            elif name == "href":
                inner = value.removeprefix("#")
                found["href"] = f"#{self.ids.get(inner, inner)}"
            elif name == "clip-path":
                inner = value.removeprefix("url(#").removesuffix(")")
                found["clip-path"] = f"url(#{self.ids.get(inner, inner)})"
            elif name == "style":
                if style := _style(value):
                    found["class"] = self.sheet.name(style)
            elif name == "transform":
                if not value.startswith("rotate(-0 "):
                    found[name] = _rounded(value, 2)
            elif name in ("d", "x", "y", "width", "height"):
                found[name] = _rounded(value, 1 if tag in ("use", "text", "path") else 2)
            elif name not in ("target", "title", "type"):
                found[name] = value
        return found


def _style(value: str) -> str:
    """One declaration block, with the page's colours and fonts."""
    kept = []
    for part in value.split(";"):
        name, _, told = part.strip().partition(": ")
        if name == "font":
            told = re.sub(r"px .*", "px var(--sans)", told)
        if name and (name, told) not in (("stroke-linejoin", "miter"), ("stroke-width", "1")):
            kept.append(f"{name}:{_VARIABLES.get(told, told)}")
    return ";".join(kept)


def _rounded(value: str, digits: int) -> str:
    def short(match: re.Match[str]) -> str:
        told = f"{float(match[0]):.{digits}f}"
        told = told.rstrip("0").rstrip(".") if "." in told else told
        return "0" if told in ("-0", "") else told

    return re.sub(r"\s+", " ", _NUMBER.sub(short, value)).strip()
