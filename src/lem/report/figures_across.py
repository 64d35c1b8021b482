"""Plots that compare models."""

from __future__ import annotations

from collections.abc import Iterator

from lem.report import plots, plots_xy
from lem.report.comparisons import BETWEEN, contrast_anchor, title_of
from lem.report.figures import AGAINST, Board, Figure, mark
from lem.text import excerpt


def across(board: Board) -> Iterator[Figure]:
    """Model against model, kernels pooled over models, ranks, sizes."""
    yield from _between(board)
    yield from _families(board)
    yield from _ranking(board)
    yield from _scales(board)


def _between(board: Board) -> Iterator[Figure]:
    for kind, heading in BETWEEN.items():
        rows = [
            plots.Row(title_of(c, True), [mark(c)], contrast_anchor(c.id))
            for c, _ in board.shown(kind)
        ]
        if rows:
            yield board.pin(
                plots.forest(rows, [heading], board.points),
                heading,
                f"{heading}: mean paired difference with its 95 % t interval. Small upright "
                "strokes: the smallest effect that could be detected.",
                "m-models",
            )


def _families(board: Board) -> Iterator[Figure]:
    rows = [
        plots.Row(
            f"{f.kernel} − {AGAINST.get(f.kind, f.kind)}: {name}",
            [plots.Mark(p.mu, p.low, p.high)],
            note=f"{len(p.groups)} models",
        )
        for f in board.part.families
        if f.overall is not None
        for name, p in [*f.by_family.items(), ("all models", f.overall)]
    ]
    if rows:
        yield board.pin(
            plots.forest(rows, ["pooled over models"], board.points),
            "Effects pooled over models",
            "Effects pooled over the models of each family and over all models, by random "
            "effects, with 95 % intervals.",
            "m-pool",
        )


def _ranking(board: Board) -> Iterator[Figure]:
    for r in board.part.rankings[:1]:
        systems = sorted(zip(r.models, r.ranking.systems), key=lambda m: (m[1].rank, m[0]))
        rows = [
            plots.Row(name, [plots.Mark(s.mean, s.low, s.high)], note=excerpt(s.letters, 8))
            for name, s in systems
        ]
        label = excerpt(board.part.label, 60)
        yield board.pin(
            plots.forest(rows, [f"{r.condition}: mean score"], label, zero=False),
            f"Models in order: {r.condition}",
            f"{r.condition}: mean score with its 95 % t interval. Models that share a letter are "
            "not told apart by paired tests.",
            "m-rank",
        )


def _scales(board: Board) -> Iterator[Figure]:
    means = {(a.model, a.role): a.mean for a in board.part.arms}
    series = []
    for s in board.part.scales:
        ends = [(size, means.get((m, "baseline"))) for m, size in zip(s.models, s.sizes)]
        known = [(x, y) for x, y in ends if y is not None]
        if known:
            series.append((s.family, [x for x, _ in known], [y for _, y in known]))
    if series:
        yield board.pin(
            plots_xy.lines(series, "size in 10⁹ parameters", excerpt(board.part.label, 40)),
            "Score and size",
            "Mean baseline score by size of the model, one line a family and version.",
            "m-scale",
        )
