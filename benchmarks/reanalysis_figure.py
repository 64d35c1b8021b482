"""The figure of docs/reanalysis.md; `reanalysis.py` calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lem.stats import detectable
from reanalysis import (
    ASSUMED_SD,
    Effect,
    Json,
    comparisons,
    designs,
    kernel_deltas,
    p100_kernel_effects,
    p_text,
    signed,
)

INK, GREY, BLUE, ORANGE = "#222222", "#767676", "#1f5fa8", "#b4540a"


def draw(data: Json, target: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    style = {
        "svg.hashsalt": "lem-reanalysis",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": 9.5,
        "axes.edgecolor": GREY,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with matplotlib.rc_context(style):
        figure = plt.figure(figsize=(10, 16), facecolor="white")
        _panel_kernels(figure.add_axes((0.24, 0.415, 0.72, 0.515)), data)
        _panel_models(figure.add_axes((0.24, 0.045, 0.72, 0.285)), data)
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, format="svg", facecolor="white", metadata={"Date": None})
        plt.close(figure)
    lines = target.read_text(encoding="utf-8").splitlines()
    target.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def _bar(axes: Any, y: float, effect: Effect, colour: str, marker: str, label: str | None) -> None:
    low, high = round(effect.mean - effect.half, 3), round(effect.mean + effect.half, 3)
    axes.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
    axes.plot(
        [round(effect.mean, 3)],
        [y],
        marker,
        color=colour,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        label=label,
        zorder=3,
        linestyle="none",
    )


def _finish(axes: Any, names: list[str], low: float, high: float) -> None:
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(low, high)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _panel_kernels(axes: Any, data: Json) -> None:
    p20, p100 = kernel_deltas(data), p100_kernel_effects(data)
    short = {m["name"]: m["name"].replace(" (LoRA)", "") for m in data["models"]}
    names = [short[m["name"]] for m in data["models"]]
    rows = {name: i for i, name in enumerate(names)}
    lower = len(names) + 1
    names += ["", *(short[n] for n, k, _ in p100 if k == "json")]
    zones = (
        (-0.6, lower - 0.5, 20, ASSUMED_SD, 58),
        (lower - 0.5, len(names) - 0.4, 101, designs(data)["settle-kernel-content"][0], 10),
    )
    for top, bottom, n, sd, tests in zones:
        for k, colour in ((tests, "#f0f0f0"), (1, "#dcdcdc")):
            edge = round(detectable(sd, n, tests=k), 3)
            axes.fill_betweenx([top, bottom], -edge, edge, color=colour, linewidth=0, zorder=0)
    seen: set[str] = set()
    for name, kernel, effect in p20 + p100:
        upper = effect.n < 101
        row = rows[short[name]] if upper else names.index(short[name], lower)
        shift = -0.17 if kernel == "json" else 0.17
        label = None if kernel in seen else f"{kernel} kernel − baseline"
        seen.add(kernel)
        colour, marker = (BLUE, "o") if kernel == "json" else (ORANGE, "s")
        _bar(axes, row + shift, effect, colour, marker, label)
    _finish(axes, names, -9.5, 9.5)
    axes.axhline(19.5, color=GREY, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.set_title(
        "Kernel deltas as printed, v2 points, with 95 % intervals", loc="left", pad=56, fontsize=12
    )
    notes = (
        "P20, 29 models, n = 20 or 21, one greedy sample: intervals ASSUME a paired SD of 6.",
        "P100 (below the gap), n = 101: SD estimated from stored category means.",
        "Grey: not detectable with 80 % power; dark for one test, light for all 58 (P100: 10).",
    )
    for i, text in enumerate(notes):
        axes.text(0, 1.0, text, transform=axes.transAxes, fontsize=9, va="bottom").set_y(
            1.046 - 0.0172 * i
        )
    axes.text(9.4, 19.35, "untuned", ha="right", va="bottom", fontsize=8.5, color=GREY)
    axes.text(9.4, 19.65, "tuned", ha="right", va="top", fontsize=8.5, color=GREY)
    axes.text(-9.4, lower - 0.62, "P100", ha="left", va="center", fontsize=8.5, color=GREY)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    axes.set_xlabel("difference to the model's own baseline")


def _panel_models(axes: Any, data: Json) -> None:
    effects = comparisons(data)
    names = [e.label for e in effects]
    for row, effect in enumerate(effects):
        clear = abs(effect.mean) > effect.half
        _bar(axes, row, effect, INK if clear else GREY, "D", None)
        axes.text(
            6.4,
            row,
            f"{signed(effect.mean)} · p {p_text(effect.p)}",
            ha="right",
            va="center",
            fontsize=8.5,
            color=INK,
        )
    _finish(axes, names, -11, 6.5)
    for edge in (6.5, 9.5):
        axes.axhline(edge, color=GREY, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.set_title(
        "The comparisons behind the headlines, P100, n = 101, v2 points",
        loc="left",
        pad=38,
        fontsize=12,
    )
    axes.text(
        0,
        1.02,
        "95 % intervals, SD estimated from stored category means; grey where the interval spans"
        " zero.\nNames without LEK are untuned Gemma 3 models; no control for prompt or tuning"
        " exists.",
        transform=axes.transAxes,
        fontsize=9,
        va="bottom",
    )
    axes.set_xlabel("difference of the first to the second")
