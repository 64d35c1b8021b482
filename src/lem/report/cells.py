"""Tables as data, so that the page and the Markdown say the same, and how numbers are written."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from lem.text import number, sha256

NONE = "–"
"""Stands where there is no number; the methods say why there is none."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One field of a table."""

    text: str
    sort: float | str | None = None
    """What it is sorted by; None: by its text, and below all numbers where the column has some."""
    link: str | None = None
    """Anchor of what explains it, where that is not the column's own."""
    hint: str | None = None
    faint: bool = False
    """Set back: inside the noise, or nothing to see."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column and the anchor of its method."""

    label: str
    method: str | None = None
    numeric: bool = True


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows under a heading of their own; they are sorted among themselves."""

    heading: str | None
    rows: Sequence[Sequence[Cell]]
    ids: Sequence[str] = ()
    """Anchors of the rows, where they have one."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with what must be known to read it."""

    caption: str
    columns: Sequence[Column]
    groups: Sequence[Group]
    notes: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(len(group.rows) for group in self.groups)


def anchor(prefix: str, name: str) -> str:
    """An id for an element: the same for the same name, safe whatever the name holds."""
    words = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:48]
    return f"{prefix}-{words}-{sha256(name)[:6]}"


def text(value: str, *, link: str | None = None, hint: str | None = None) -> Cell:
    """A name or a sentence."""
    return Cell(value, link=link, hint=hint)


def points(value: float | None, *, faint: bool = False) -> Cell:
    """A difference in points, with its sign."""
    return Cell(NONE if value is None else number(value, "+"), value, faint=faint)


def level(value: float | None) -> Cell:
    """A score, or another size without a sign."""
    if value is not None and math.isinf(value):
        return Cell("∞", 1e300)
    return Cell(NONE if value is None else number(value), value)


def count(value: int | None) -> Cell:
    """A whole number."""
    return Cell(NONE if value is None else f"{value:,}".replace(",", "\u202f"), value)


def ratio(value: float | None) -> Cell:
    """A number without a unit, to two decimals."""
    if value is None:
        return Cell(NONE)
    text_ = f"{value:+.2f}"
    return Cell(("0.00" if float(text_) == 0 else text_).replace("-", "−"), value)


def between(low: float | None, high: float | None, sign: str = "+") -> Cell:
    """An interval; sorted by its lower end."""
    return Cell(span(low, high, sign), low)


def span(low: float | None, high: float | None, sign: str = "+") -> str:
    """``[−7.5, +2.6]``."""
    if low is None or high is None:
        return NONE
    return f"[{number(low, sign)}, {number(high, sign)}]"


def estimate(mean: float | None, low: float | None, high: float | None) -> str:
    """``−2.4 [−7.5, +2.6]``."""
    if mean is None:
        return NONE
    return number(mean, "+") + (f" {span(low, high)}" if low is not None else "")


def estimated(mean: float | None, low: float | None, high: float | None) -> Cell:
    """An estimate with its interval in one field; sorted by the estimate."""
    return Cell(estimate(mean, low, high), mean)


def chance(p: float | None) -> Cell:
    """A p value."""
    return Cell(p_text(p), p)


def p_text(p: float | None) -> str:
    """``0.034``, ``< 0.001``; a digit more where three could not tell the side of 0.05."""
    if p is None:
        return NONE
    if 0.0495 <= p < 0.0505:
        return f"{p:.4f}"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def share(part: int, whole: int) -> Cell:
    """A count and its share, ``3 (14 %)``; faint where it is 0."""
    if not whole:
        return Cell(NONE, 0.0, faint=True)
    percent = 100 * part / whole
    told = f"{percent:.0f}" if percent >= 1 or not part else "< 1"
    return Cell(f"{part} ({told} %)" if part else "0", part / whole, faint=not part)


def wilson(part: int, whole: int, low: float, high: float) -> Cell:
    """A count with the interval of its share, ``12 · 57 % [37, 76]``."""
    if not whole:
        return Cell(NONE)
    told = f"{part} · {100 * part / whole:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
    return Cell(told, part / whole)
