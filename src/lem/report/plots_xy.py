"""Plots with two axes: every unit's difference, score by length, score by size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lem.report.plots import WIDTH, new_axes, new_figure
from lem.report.svg import BAND, DOWN, INK, MUTED, PAPER, RULE, SERIES, UP
from lem.text import excerpt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 45
"""Units whose names have room under the axis."""


@dataclasses.dataclass(frozen=True)
class Sorted:
    """The differences of one contrast, unit by unit."""

    title: str
    ids: Sequence[str]
    differences: Sequence[float]
    mean: float
    low: float | None
    high: float | None
    tie: float
    units: int
    """All there are, where only some are given."""


def sorted_differences(panels: Sequence[Sorted]) -> Figure:
    """Every unit's difference, smallest first, over the mean with its interval; two panels a
    line."""
    named = max(len(p.ids) for p in panels) <= NAMED
    tall, foot, head, gap = 150.0, 66.0 if named else 30.0, 34.0, 52.0
    across = 1 if len(panels) == 1 else 2
    lines = math.ceil(len(panels) / across)
    figure = new_figure(lines * (tall + foot + head) - 4)
    width = (WIDTH - 52 - gap * (across - 1)) / across
    lowest = min(0.0, *(min(p.differences) for p in panels))
    highest = max(0.0, *(max(p.differences) for p in panels))
    pad = 0.06 * (highest - lowest) or 1.0
    for k, panel in enumerate(panels):
        line, column = divmod(k, across)
        bottom = (lines - 1 - line) * (tall + foot + head) + foot
        axes = new_axes(figure, 40 + column * (width + gap), bottom, width, tall, panel.title)
        axes.set_ylim(lowest - pad, highest + pad)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_ylabel("points")
        _lollipops(axes, panel, named)
    return figure


def _lollipops(axes: Axes, panel: Sorted, named: bool) -> None:
    order = sorted(range(len(panel.ids)), key=lambda i: (panel.differences[i], panel.ids[i]))
    d = [panel.differences[i] for i in order]
    if panel.low is not None and panel.high is not None:
        axes.axhspan(panel.low, panel.high, color=BAND, linewidth=0)
    axes.axhline(panel.mean, color=MUTED, linewidth=1.0, linestyle=(0, (5, 3)))
    axes.axhline(0, color=INK, linewidth=0.9)
    for colour, shape, keep in (
        (UP, "^", [v > panel.tie for v in d]),
        (DOWN, "v", [v < -panel.tie for v in d]),
        (MUTED, "o", [abs(v) <= panel.tie for v in d]),
    ):
        where = [i for i, kept in enumerate(keep) if kept]
        if where:
            ends = [d[i] for i in where]
            axes.vlines(where, 0, ends, color=colour, linewidth=1.1)
            size = 5.0 if named else 3.4
            axes.plot(where, ends, shape, color=colour, markersize=size, markeredgewidth=0)
    axes.set_xlim(-1, len(d))
    axes.spines["bottom"].set_visible(False)
    if named:
        names = [excerpt(panel.ids[i], 9) for i in order]
        axes.set_xticks(range(len(d)), names, rotation=90, fontsize=8)
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{panel.units:,} units, smallest difference first")


@dataclasses.dataclass(frozen=True)
class Scatter:
    """Differences in score against differences in length."""

    title: str
    x: Sequence[float]
    """log(words / words of the reference)."""
    y: Sequence[float]
    raw: tuple[float, float]
    """Mean of x and of y."""
    line: tuple[float, float, float, float] | None
    """Effect at x = 0, its low and high end, and the slope."""


def scatters(panels: Sequence[Scatter]) -> Figure:
    """Score difference by length difference; the fitted line crosses x = 0 at the effect at equal
    length."""
    across = 1 if len(panels) == 1 else 2
    lines = math.ceil(len(panels) / across)
    tall, gap = 190.0, 52.0
    figure = new_figure(lines * (tall + 74) + 4)
    width = (WIDTH - 52 - gap * (across - 1)) / across
    every = [v for p in panels for v in p.x]
    low, high = min(0.0, *every), max(0.0, *every)
    pad = 0.05 * (high - low) or 0.1
    ends = low - pad, high + pad
    ticks = _multiples(*ends)
    for k, panel in enumerate(panels):
        row, column = divmod(k, across)
        bottom = (lines - 1 - row) * (tall + 74) + 42
        axes = new_axes(figure, 40 + column * (width + gap), bottom, width, tall, panel.title)
        axes.set_xlim(ends)
        axes.set_xticks(ticks, [_times(t) for t in ticks])
        axes.set_xlabel("words, as a multiple of the reference")
        axes.set_ylabel("points")
        _cloud(axes, panel, ends)
    return figure


def _multiples(low: float, high: float) -> list[float]:
    """Logarithms of round multiples between two logarithms, 1 among them: powers of 2, or of its
    fourth root where these are too few."""
    for unit in (math.log(2), math.log(2) / 4, math.log(2) / 16):
        first, last = math.ceil(low / unit), math.floor(high / unit)
        if last - first >= 2:
            break
    step = max(1, math.ceil((last - first) / 6))
    return [k * unit for k in range(first, last + 1) if k % step == 0]


def _times(log: float) -> str:
    """``2×``, ``1/4×``, ``1.19×``."""
    value, below = math.exp(log), math.exp(-log)
    if value < 0.9 and abs(below - round(below)) < 1e-6:
        return f"1/{round(below)}×"
    return f"{value:.3g}×"


def _cloud(axes: Axes, panel: Scatter, ends: tuple[float, float]) -> None:
    axes.grid(color=RULE, linewidth=0.6)
    axes.axhline(0, color=MUTED, linewidth=0.9)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    dots = axes.plot(panel.x, panel.y, "o", color=SERIES[1], markersize=4.4)
    dots[0].set(alpha=0.6, markeredgewidth=0)
    if panel.line:
        effect, low, high, slope = panel.line
        axes.plot(ends, [effect + slope * x for x in ends], color=SERIES[0], linewidth=1.5)
        axes.vlines(0, low, high, color=INK, linewidth=2)
        axes.plot([0], [effect], "D", color=INK, markeredgecolor=PAPER, markersize=6.5)
    ring = axes.plot([panel.raw[0]], [panel.raw[1]], "o", color=PAPER, markersize=7)
    ring[0].set(markeredgecolor=INK, markeredgewidth=1.5)


def lines(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]], xlabel: str, ylabel: str
) -> Figure:
    """One line a name over a logarithmic axis."""
    figure = new_figure(290)
    axes = new_axes(figure, 46, 44, WIDTH - 240, 220)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_xscale("log", base=2)
    marks = "osD^vP"
    for i, (name, x, y) in enumerate(series):
        axes.plot(
            x, y, marker=marks[i % len(marks)], color=SERIES[i % len(SERIES)], linewidth=1.6,
            markersize=6, label=excerpt(name, 24),
        )  # fmt: skip
    ticks = sorted({v for _, x, _ in series for v in x})
    axes.set_xticks(ticks, [f"{v:g}" for v in ticks], rotation=45 if len(ticks) > 10 else 0)
    axes.minorticks_off()
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=9.5)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure
