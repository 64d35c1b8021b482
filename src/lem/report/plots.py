"""Plots with one row a name. They know numbers and labels, not studies; every colour is one of
`svg`'s.

Widths and heights are in points; the page lets figures grow to its width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lem.report.svg import BAND, DOWN, INK, MUTED, PAPER, RULE, SERIES, UP
from lem.text import excerpt, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 880.0
_LABEL = 46
"""Characters of a row's label that are shown."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """An estimate with its interval in a row of a forest plot."""

    value: float
    low: float | None = None
    high: float | None = None
    faint: bool = False
    floor: float | None = None
    """Half width of the grey band about 0."""
    detectable: float | None = None
    second: float | None = None
    """Another estimate of the same, drawn hollow."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a forest plot: one mark a panel."""

    label: str
    marks: Sequence[Mark | None]
    link: str | None = None
    note: str = ""


def new_figure(height: float, width: float = WIDTH) -> Figure:
    from matplotlib.figure import Figure

    made = Figure(figsize=(width / 72, height / 72), dpi=72)
    made.patch.set_visible(False)
    return made


def new_axes(
    figure: Figure, left: float, bottom: float, width: float, height: float, title: str = ""
) -> Axes:
    whole, tall = figure.get_figwidth() * 72, figure.get_figheight() * 72
    axes = figure.add_axes((left / whole, bottom / tall, width / whole, height / tall))
    axes.set_title(excerpt(title, 70))
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    return axes


def _fit(label: str) -> str:
    """A label on one line; of a long one both ends, as long names often differ at the end."""
    line = excerpt(label, 10_000)
    half = _LABEL // 2
    return line if len(line) <= _LABEL else f"{line[: half - 1]}…{line[-half:]}"


def _wide(labels: Sequence[str]) -> float:
    return 14 + 5.7 * max((len(_fit(label)) for label in labels), default=0)


def _row_labels(axes: Axes, labels: Sequence[str], links: Sequence[str | None]) -> None:
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), [_fit(label) for label in labels])
    for tick, link in zip(axes.get_yticklabels(), links):
        if link:
            tick.set_url(f"#{link}")
    axes.spines["left"].set_visible(False)


def forest(rows: Sequence[Row], panels: Sequence[str], axis: str, zero: bool = True) -> Figure:
    """Estimates with their intervals, one row a name, panels side by side on one scale.

    Args:
        axis: what is measured.
        zero: draw the line of no effect.
    """
    step = 17.0 if len(rows) > 12 else 21.0
    tall = step * len(rows) + 8
    figure = new_figure(tall + 66)
    left = _wide([row.label for row in rows])
    right = 14 + 5.7 * max((len(row.note) for row in rows), default=0)
    gap = 30.0
    width = (WIDTH - left - right - gap * (len(panels) - 1)) / len(panels)
    ends = [
        v
        for row in rows
        for m in row.marks
        if m
        for v in (m.value, m.low, m.high, m.second)
        if v is not None
    ]
    if zero:
        ends.append(0.0)
    largest = max(map(abs, ends))
    floors = [m.floor for row in rows for m in row.marks if m and m.floor]
    ends += [sign * f for f in floors if f < 3 * largest for sign in (-1, 1)]
    low, high = min(ends), max(ends)
    pad = 0.04 * (high - low) or 1.0
    for k, title in enumerate(panels):
        axes = new_axes(figure, left + k * (width + gap), 40, width, tall, title)
        axes.set_xlim(low - pad, high + pad)
        _row_labels(axes, [row.label for row in rows], [row.link for row in rows])
        if k:
            axes.set_yticks([])
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        if zero:
            axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_xlabel(axis)
        axes.locator_params(axis="x", nbins=9 if len(panels) == 1 else 6)
        _marks(axes, [row.marks[k] for row in rows])
    for i, row in enumerate(rows):
        if row.note:
            axes.annotate(
                row.note, (1, i), (8, 0), ("axes fraction", "data"), textcoords="offset points",
                va="center", fontsize=9, color=MUTED, annotation_clip=False,
            )  # fmt: skip
    return figure


def _marks(axes: Axes, marks: Sequence[Mark | None]) -> None:
    low, high = axes.get_xlim()
    found = [(i, m) for i, m in enumerate(marks) if m is not None]
    for i, m in found:
        if m.floor is not None:
            floor = min(m.floor, high - low)
            axes.barh(i, 2 * floor, 0.92, left=-floor, color=BAND, linewidth=0)
    ticks = [(s * m.detectable, i) for i, m in found if m.detectable for s in (-1, 1)]
    ticks = [(x, i) for x, i in ticks if low < x < high]
    if ticks:
        axes.plot(*zip(*ticks), "|", color=MUTED, markersize=6, markeredgewidth=0.9)
    for faint, colour in ((True, MUTED), (False, INK)):
        own = [(i, m) for i, m in found if m.faint is faint]
        lines = [(i, m.low, m.high) for i, m in own if m.low is not None and m.high is not None]
        if lines:
            where, starts, stops = zip(*lines)
            axes.hlines(where, starts, stops, color=colour, linewidth=1.1 if faint else 1.7)
        if own:
            axes.plot(
                [m.value for _, m in own], [i for i, _ in own], "o", markersize=5.4,
                color=PAPER if faint else colour, markeredgecolor=colour, markeredgewidth=1.2,
            )  # fmt: skip
    hollow = [(m.second, i) for i, m in found if m.second is not None]
    if hollow:
        axes.plot(
            *zip(*hollow), "D", color=PAPER, markeredgecolor=SERIES[0], markersize=4.6,
            markeredgewidth=1.2,
        )  # fmt: skip


def strips(
    rows: Sequence[tuple[str, Sequence[float], float, str | None]], title: str, axis: str
) -> Figure:
    """Every difference of every row as a fine stroke, and its mean.

    Args:
        rows: (label, differences, mean, link).
    """
    tall = 18.0 * len(rows) + 6
    figure = new_figure(tall + 66)
    left = _wide([label for label, *_ in rows])
    axes = new_axes(figure, left, 40, WIDTH - left - 14, tall, title)
    _row_labels(axes, [label for label, *_ in rows], [link for *_, link in rows])
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    for i, (_, values, mean, _) in enumerate(rows):
        x = [v for d in sorted(values) for v in (d, d, math.nan)]
        y = [v for _ in values for v in (i - 0.3, i + 0.3, math.nan)]
        axes.plot(x, y, color=SERIES[0], linewidth=0.8, alpha=0.5)
        axes.plot([mean], [i], "D", color=INK, markeredgecolor=PAPER, markersize=6)
    axes.set_xlabel(axis)
    return figure


@dataclasses.dataclass(frozen=True)
class Box:
    """One condition's scores."""

    label: str
    values: Sequence[float]
    """One dot each; empty where there are too many to draw."""
    quartiles: tuple[float, float, float] | None
    mean: float | None
    low: float | None
    high: float | None
    series: int
    """Which colour."""


def boxes(rows: Sequence[Box], axis: str) -> Figure:
    """Distribution of each condition: dots, the box of its quartiles, mean and interval."""
    dots = any(row.values for row in rows)
    step = 40.0 if dots else 18.0
    tall = step * len(rows) + 6
    figure = new_figure(tall + 50)
    left = _wide([row.label for row in rows])
    axes = new_axes(figure, left, 40, WIDTH - left - 14, tall)
    _row_labels(axes, [row.label for row in rows], [None] * len(rows))
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    shift, height = (0.27, 0.2) if dots else (0.0, 0.56)
    for series in sorted({row.series for row in rows}):
        colour = SERIES[series % len(SERIES)]
        own = [(i, row) for i, row in enumerate(rows) if row.series == series]
        for i, row in own:
            if row.values:
                # fixed steps of the golden ratio: spread, and the same on every build
                up = [i - 0.32 + 0.42 * ((k * 0.6180339887) % 1) for k in range(len(row.values))]
                drawn = axes.plot(sorted(row.values), up, "o", color=colour, markersize=4)
                drawn[0].set(alpha=0.55, markeredgewidth=0)
        quarters = [(i + shift, *row.quartiles) for i, row in own if row.quartiles]
        if quarters:
            y, q1, q2, q3 = zip(*quarters)
            widths = [high - low for low, high in zip(q1, q3)]
            axes.barh(y, widths, height, left=q1, facecolor=PAPER, edgecolor=colour, linewidth=1.3)
            ends = [v - height / 2 for v in y], [v + height / 2 for v in y]
            axes.vlines(q2, *ends, color=colour, linewidth=2.4)
    spans = [(i + shift, r.low, r.high) for i, r in enumerate(rows) if r.low is not None]
    if spans:
        axes.hlines(*zip(*spans), color=INK, linewidth=1.2)
    means = [(r.mean, i + shift) for i, r in enumerate(rows) if r.mean is not None]
    axes.plot(*zip(*means), "D", color=INK, markeredgecolor=PAPER, markersize=5.6)
    axes.set_xlabel(axis)
    return figure


def grid(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[int, int], float],
    title: str,
) -> Figure:
    """Numbers in a grid, shaded by size."""
    flat = len(columns) * 90 < WIDTH - 200  # room for upright names of columns
    left, top, tall = _wide(rows), 46.0 if flat else 96.0, 17.0 * len(rows)
    figure = new_figure(tall + top + 6)
    axes = new_axes(figure, left, 4, WIDTH - left - (14 if flat else 40), tall)
    figure.text(
        left / WIDTH, 1 - 4 / (tall + top + 6), excerpt(title, 80), va="top", weight="bold",
        fontsize=10.5,
    )  # fmt: skip
    axes.set_xlim(-0.5, len(columns) - 0.5)
    _row_labels(axes, rows, [None] * len(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.set_xticks(
        range(len(columns)),
        [excerpt(c, 14) for c in columns],
        rotation=0 if flat else 45,
        ha="center" if flat else "left",
        fontsize=9,
    )
    axes.tick_params(axis="x", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    largest = max(map(abs, values.values()), default=0.0) or 1.0
    shades: dict[tuple[bool, int], list[tuple[int, int]]] = {}
    for (i, j), value in values.items():
        axes.text(j, i, number(value, "+"), ha="center", va="center", fontsize=8.5)
        shades.setdefault((value > 0, round(6 * abs(value) / largest)), []).append((i, j))
    for (above, shade), places in sorted(shades.items()):  # few shades: few styles on the page
        if shade:
            y, left_ends = [i for i, _ in places], [j - 0.47 for _, j in places]
            colour = UP if above else DOWN
            axes.barh(y, 0.94, 0.88, left=left_ends, color=colour, alpha=shade / 10, linewidth=0)
    return figure
