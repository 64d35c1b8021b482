"""Which plots an analysis has of its models, and what is said under them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from markupsafe import Markup

from lem.analysis import Contrast, Domains, ScorerAnalysis
from lem.report import plots, plots_xy
from lem.report.comparisons import contrast_anchor, of_kinds, title_of
from lem.report.svg import Sheet, render
from lem.stats import PairedEffect, PooledGroup, mean_by
from lem.study import Study
from lem.text import excerpt, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

Value = TypeVar("Value")

FEW = 4
"""Up to so many models each has its own detailed plots; more share one plot a kernel."""

AGAINST = {"kernel": "baseline", "content": "its placebo"}

DOTS = 400
"""Units drawn of one condition or comparison; of more, evenly spaced ones."""

GREY = 5
"""The baseline's colour; the other conditions have those before it."""

GRID, ROWS = 24, 80
"""Domains that a grid and a forest plot have room for; the tables have more."""


class Figure(NamedTuple):
    """A finished plot."""

    svg: Markup
    caption: str
    method: str


class Board:
    """Takes in the plots of one scorer.

    Args:
        name: prefix of all ids, unique on the page.
        sheet: takes up the styles.
        details: also the plots that show every probe.
    """

    def __init__(
        self, study: Study, part: ScorerAnalysis, name: str, sheet: Sheet, details: bool = True
    ) -> None:
        self.study, self.part, self.details = study, part, details
        self.many, self.crowd = len(study.models) > 1, len(study.models) > FEW
        self.points = f"points of {excerpt(part.label, 40)}"
        self._name, self._sheet, self._count = name, sheet, 0

    def pin(self, drawn: Drawn, title: str, caption: str, method: str) -> Figure:
        """Finish a plot."""
        self._count += 1
        name = f"{self._name}{self._count}"
        return Figure(
            Markup(render(drawn, name, excerpt(title, 200), caption, self._sheet)), caption, method
        )

    def shown(self, *kinds: str) -> list[tuple[Contrast, PairedEffect]]:
        """Contrasts of these kinds that have an effect, the largest first."""
        found = [(c, c.effect) for c in of_kinds(self.part, kinds) if c.effect is not None]
        return sorted(found, key=lambda pair: (-pair[1].mean, pair[0].id))

    def label(self, contrast: Contrast) -> str:
        """The kernel, with its model where there are several."""
        return f"{contrast.model}: {contrast.arm}" if self.many else contrast.arm


def forest(board: Board) -> Iterator[Figure]:
    """All kernel effects, against the baseline and against the placebo."""
    contents = {(c.model, c.arm): c for c in of_kinds(board.part, ["content"])}
    pairs = [(own, contents.get((own.model, own.arm))) for own, _ in board.shown("kernel")]
    if not pairs:
        return
    both = any(other and other.effect for _, other in pairs)
    rows = [
        plots.Row(
            board.label(own),
            [mark(own), mark(other)] if both else [mark(own)],
            contrast_anchor(own.id),
        )
        for own, other in pairs
    ]
    told = [
        "Mean paired difference with its 95 % t interval, largest first.",
        "Small upright strokes: the smallest effect that could be detected.",
    ]
    if any(own.noise is not None for own, _ in pairs):
        told.append("Grey band: the noise floor; hollow grey: no larger than it.")
    if not both:
        told.append(
            "There is no placebo to compare with, so nothing here can be put down to what a "
            "kernel says."
        )
    panels = ["kernel − baseline", "kernel − its placebo"] if both else ["kernel − baseline"]
    drawn = plots.forest(rows, panels, board.points)
    yield board.pin(drawn, "Effects of all kernels", " ".join(told), "m-diff")


def differences(board: Board) -> Iterator[Figure]:
    """Every probe's difference."""
    if not board.details:
        return
    if board.crowd:
        for (arm, kind), own in _by_arm(board.shown("kernel", "content")).items():
            rows = [(c.model, thinned(_d(c)), e.mean, contrast_anchor(c.id)) for c, e in own]
            title = f"{arm} − {AGAINST[kind]}"
            yield board.pin(
                plots.strips(rows, title, board.points),
                f"Every probe: {title}",
                "One stroke for every unit’s paired difference, the mean as a diamond."
                + _thin(own),
                "m-diff",
            )
        return
    for model, own in _by_model(board).items():
        panels = []
        for c, e in own:
            pairs = thinned(sorted((u.arm - u.reference, u.id) for u in c.units))
            ids, d = [name for _, name in pairs], [v for v, _ in pairs]
            title = title_of(c, board.many)
            panels.append(plots_xy.Sorted(title, ids, d, e.mean, e.low, e.high, e.tie, e.n))
        told = f"{model}: every" if board.many else "Every"
        yield board.pin(
            plots_xy.sorted_differences(panels),
            f"{told} probe's difference",
            f"{told} unit’s paired difference, smallest first. Triangles up: better, down: "
            "worse, dots: same. Dashed: the mean; band: its 95 % t interval." + _thin(own),
            "m-diff",
        )


def distributions(board: Board) -> Iterator[Figure]:
    """The scores of each condition."""
    part = board.part
    dots = board.details and not board.crowd
    values = unit_means(board.study, board.study.scorer(part.scorer)) if dots else {}
    order = list(dict.fromkeys(a.arm for a in part.arms if a.role != "baseline"))
    rows = [
        plots.Box(
            f"{a.model}: {a.arm}" if board.many else a.arm,
            thinned(sorted(values.get((a.model, a.arm), []))),
            a.quartiles,
            a.mean,
            a.low,
            a.high,
            GREY if a.role == "baseline" else order.index(a.arm) % GREY,
        )
        for a in part.arms
        if a.mean is not None
    ]
    if rows:
        yield board.pin(
            plots.boxes(rows, excerpt(part.label, 60)),
            "Scores of each condition",
            ("Dots: units. " if dots else "")
            + "Box: quartiles and median; diamond: mean with the 95 % t interval of this condition "
            "alone. Whether two conditions differ is told by their paired difference.",
            "m-spread",
        )


def lengths(board: Board) -> Iterator[Figure]:
    """Effects at equal length beside the raw ones (R9)."""
    if board.crowd or not board.details:
        for kind, against in AGAINST.items():
            rows = [
                plots.Row(
                    board.label(c), [mark(c, plain=True), _adjusted(c)], contrast_anchor(c.id)
                )
                for c, _ in board.shown(kind)
                if c.length
            ]
            if rows:
                title = f"kernel − {against}, raw"
                yield board.pin(
                    plots.forest(rows, [title, "at equal length"], board.points),
                    f"Kernel − {against}, raw and at equal length",
                    "The same effects as they are, and as they would be if both answers were of "
                    "one length; with 95 % intervals.",
                    "m-length",
                )
        return
    for model, own in _by_model(board).items():
        panels = [p for c, _ in own if (p := _scatter(c, title_of(c, board.many))) is not None]
        if panels:
            yield board.pin(
                plots_xy.scatters(panels),
                f"{model}: score and length differences",
                (f"{model}. " if board.many else "")
                + "Each dot a unit. Circle: the raw mean difference. Diamond with its 95 % "
                "interval: the effect at equal length, where the fitted line crosses 1×."
                + _thin(own),
                "m-length",
            )


def domains(board: Board) -> Iterator[Figure]:
    """Effects by domain, raw and pooled."""
    by_id = {c.id: c for c in board.part.contrasts}
    found = [(by_id[d.contrast], d) for d in board.part.domains if d.contrast in by_id]
    if board.crowd:
        yield from _domain_grids(board, found)
        return
    by_kernel: dict[tuple[str, str], list[tuple[Contrast, Domains]]] = {}
    for c, d in found:
        by_kernel.setdefault((c.model, c.arm), []).append((c, d))
    for own in by_kernel.values():
        groups = [{str(g.key): g for g in d.pooling.groups} for _, d in own]
        names = sorted(groups[0], key=lambda n: (-groups[0][n].pooled, n))
        if len(names) > ROWS:
            continue
        rows = [
            plots.Row(
                name,
                [_pooled(by_name.get(name)) for by_name in groups],
                note=_sizes([by_name[name].n if name in by_name else 0 for by_name in groups]),
            )
            for name in names
        ]
        titles = "; ".join(title_of(c, board.many) for c, _ in own)
        means = ", ".join(number(d.pooling.mu, "+") for _, d in own)
        yield board.pin(
            plots.forest(rows, [title_of(c, board.many) for c, _ in own], board.points),
            f"Effects by domain: {titles}",
            f"{titles}. Dot and line: the domain’s effect pulled towards that of all domains "
            f"({means}), with its 95 % interval; diamond: its raw mean.",
            "m-domains",
        )


def _domain_grids(board: Board, found: Sequence[tuple[Contrast, Domains]]) -> Iterator[Figure]:
    for (arm, kind), own in _by_arm(found).items():
        names = sorted({str(g.key) for _, d in own for g in d.pooling.groups})
        if len(names) > GRID:
            continue
        values = {
            (i, names.index(str(g.key))): g.pooled
            for i, (_, d) in enumerate(own)
            for g in d.pooling.groups
        }
        title = f"{arm} − {AGAINST[kind]}"
        yield board.pin(
            plots.grid([c.model for c, _ in own], names, values, title),
            f"Effects by domain: {title}",
            "Each domain’s effect in points, pulled towards that of all domains of the model. "
            "Blue: higher, orange: lower. Exploratory.",
            "m-domains",
        )


def unit_means(study: Study, place: int) -> dict[tuple[str, str], list[float]]:
    """The unit means of one scorer by (model, condition): samples averaged first, then the
    wordings of a dilemma."""
    probes = mean_by(
        ((a.model, a.condition, a.probe), s)
        for a in study.answers
        if (s := a.scores[place]) is not None
    )
    units = mean_by(
        ((model, arm, study.probes[probe].cluster), s) for (model, arm, probe), s in probes.items()
    )
    found: dict[tuple[str, str], list[float]] = {}
    for (model, arm, _), value in units.items():
        found.setdefault((model, arm), []).append(value)
    return found


def mark(c: Contrast | None, plain: bool = False) -> plots.Mark | None:
    """A contrast in a forest plot; `plain`: without its noise floor and detectable effect."""
    if c is None or c.effect is None:
        return None
    e = c.effect
    if plain:
        return plots.Mark(e.mean, e.low, e.high, c.in_noise)
    return plots.Mark(e.mean, e.low, e.high, c.in_noise, c.noise, c.detectable)


def _sizes(sizes: Sequence[int]) -> str:
    """``n = 6``, and where they differ ``n = 6/5``."""
    return "n = " + "/".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1]))


def _adjusted(c: Contrast) -> plots.Mark | None:
    length = c.length
    return (
        None if length is None else plots.Mark(length.effect, length.low, length.high, c.in_noise)
    )


def _pooled(group: PooledGroup | None) -> plots.Mark | None:
    if group is None:
        return None
    return plots.Mark(group.pooled, group.low, group.high, second=group.mean)


def _scatter(c: Contrast, title: str) -> plots_xy.Scatter | None:
    known = [(u.length_shift, u.arm - u.reference) for u in c.units if u.length_shift is not None]
    if not known:
        return None
    x, y = [v for v, _ in known], [v for _, v in known]
    line = (c.length.effect, c.length.low, c.length.high, c.length.slope) if c.length else None
    raw = sum(x) / len(x), sum(y) / len(y)
    return plots_xy.Scatter(title, thinned(x), thinned(y), raw, line)


def thinned(values: Sequence[Value]) -> Sequence[Value]:
    """At most `DOTS` of them, evenly spaced, the first and the last among them."""
    if len(values) <= DOTS:
        return values
    return [values[round(i * (len(values) - 1) / (DOTS - 1))] for i in range(DOTS)]


def _thin(own: Sequence[tuple[Contrast, PairedEffect]]) -> str:
    most = max(e.n for _, e in own)
    return f" Of {most:,} units {DOTS} evenly spaced ones are drawn." if most > DOTS else ""


def _d(c: Contrast) -> list[float]:
    return sorted(u.arm - u.reference for u in c.units)


def _by_model(board: Board) -> dict[str, list[tuple[Contrast, PairedEffect]]]:
    """Kernel contrasts by model, in the order of the analysis."""
    found: dict[str, list[tuple[Contrast, PairedEffect]]] = {}
    for c in of_kinds(board.part, AGAINST):
        if c.effect and c.units:
            found.setdefault(c.model, []).append((c, c.effect))
    return found


def _by_arm(
    pairs: Iterable[tuple[Contrast, Value]],
) -> dict[tuple[str, str], list[tuple[Contrast, Value]]]:
    found: dict[tuple[str, str], list[tuple[Contrast, Value]]] = {}
    for c, value in pairs:
        found.setdefault((c.arm, c.kind), []).append((c, value))
    return found
