"""Comparisons of models and the study's own facts, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lem.analysis import FEW, ScorerAnalysis
from lem.report import cells
from lem.report.cells import Cell, Column, Group, Table
from lem.study import Study

PROBLEMS = 500
"""Problems listed; the rest are counted."""


def ranking_table(part: ScorerAnalysis, place: int) -> Table:
    """One condition's models in order."""
    ranked = part.rankings[place]
    columns = [
        Column("rank", "m-rank"),
        Column("95 % of rank", "m-rank"),
        Column("model", None, numeric=False),
        Column("n", "m-unit"),
        Column("mean score", "m-mean"),
        Column("95 % t", "m-mean"),
        Column("group", "m-rank", numeric=False),
    ]
    rows = []
    for model, s in sorted(zip(ranked.models, ranked.ranking.systems), key=lambda m: m[1].rank):
        rows.append(
            [
                Cell(f"{s.rank:g}", s.rank),
                Cell(f"{s.rank_low:g}–{s.rank_high:g}", s.rank_low),
                cells.text(model),
                cells.count(s.n),
                cells.level(s.mean),
                cells.between(s.low, s.high, ""),
                cells.text(s.letters),
            ]
        )
    return Table(
        f"Models in order: {ranked.condition}",
        columns,
        [Group(None, rows)],
        [
            "Models that share a letter are not told apart.",
            *([f"n = {ranked.n} is a first look, not a measurement."] if ranked.n < FEW else []),
        ],
    )


def families_table(part: ScorerAnalysis) -> Table:
    """Kernel effects pooled over models."""
    columns = [
        Column("effect", None, numeric=False),
        Column("models", "m-pool"),
        Column("pooled effect", "m-pool"),
        Column("95 %", "m-pool"),
        Column("sd between models", "m-pool"),
        Column("I²", "m-pool"),
        Column("95 % of one more model", "m-pool"),
    ]
    rows = []
    for f in part.families:
        against = "placebo" if f.kind == "content" else "baseline"
        pooled = [("all models", f.overall), *f.by_family.items()]
        for name, p in pooled:
            if p is None:
                continue
            rows.append(
                [
                    cells.text(f"{f.kernel} − {against}, {name}"),
                    cells.count(len(p.groups)),
                    cells.points(p.mu),
                    cells.between(p.low, p.high),
                    cells.level(p.tau),
                    Cell(f"{100 * p.i2:.0f} %", p.i2),
                    cells.between(p.prediction_low, p.prediction_high),
                ]
            )
    note = "Exploratory. The models answered the same probes: the intervals count that in."
    return Table("Effects pooled over models", columns, [Group(None, rows)], [note])


def scales_table(part: ScorerAnalysis) -> Table:
    """Score against size."""
    columns = [
        Column("family", None, numeric=False),
        Column("condition", None, numeric=False),
        Column("sizes (10⁹)", "m-scale", numeric=False),
        Column("n", "m-unit"),
        Column("change a doubling", "m-scale"),
        Column("95 % t", "m-t"),
        Column("95 % bootstrap", "m-boot"),
        Column("p t test", "m-t"),
    ]
    rows = []
    for s in part.scales:
        e = s.effect
        rows.append(
            [
                cells.text(s.family),
                cells.text(s.condition),
                cells.text(", ".join(f"{size:g}" for size in s.sizes)),
                cells.count(e.n if e else 0),
                cells.points(e.mean if e else None),
                cells.between(e.low, e.high) if e else Cell(cells.NONE),
                cells.between(e.boot_low, e.boot_high) if e else Cell(cells.NONE),
                cells.chance(e.p if e else None),
            ]
        )
    return Table("Score and size", columns, [Group(None, rows)], ["Exploratory."])


def variance_table(part: ScorerAnalysis) -> Table:
    """Noise of the baseline between units and between samples."""
    columns = [
        Column("model", None, numeric=False),
        Column("between units", "m-variance"),
        Column("between samples", "m-variance"),
        Column("ICC", "m-variance"),
        Column("units", "m-variance"),
        Column("answers", "m-variance"),
    ]
    rows = [
        [
            cells.text(model),
            cells.level(v.between),
            cells.level(v.within),
            Cell(f"{v.icc:.2f}", v.icc),
            cells.count(v.n_probes),
            cells.count(v.n_values),
        ]
        for model, v in part.variance.items()
    ]
    return Table("Where the noise comes from (variances)", columns, [Group(None, rows)])


def problems_table(study: Study) -> Table:
    """What was found wrong in the inputs."""
    columns = [Column(name, None, numeric=False) for name in ("kind", "place", "what")]
    rows = [[cells.text(value) for value in p] for p in study.problems[:PROBLEMS]]
    more = len(study.problems) - len(rows)
    notes = [f"{more} more of them are not listed."] if more else []
    return Table("What was found in the inputs", columns, [Group(None, rows)], notes)


def settings_table(study: Study) -> Table:
    """The settings of each model, side by side."""
    names = list(dict.fromkeys(n for m in study.models for n in m.settings if n != "kernels"))
    columns = [
        Column("model", None, numeric=False),
        Column("source", None, numeric=False),
        Column("form", None, numeric=False),
        *(Column(name, None, numeric=False) for name in names),
    ]
    rows = [
        [
            cells.text(m.name),
            cells.text(Path(m.source).name),  # not where it is on somebody's machine
            cells.text(m.form),
            *(cells.text(_plain(m.settings.get(name))) for name in names),
        ]
        for m in study.models
    ]
    return Table("Settings", columns, [Group(None, rows)])


def conditions_table(study: Study) -> Table:
    """The conditions, with the hashes of their kernels; those of several models once."""
    columns = [
        Column(name, None, numeric=False)
        for name in ("condition", "role", "kernel sha256", "placement", "models", "note")
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for m in study.models:
        for a in m.arms:
            key = (a.name, a.role, a.kernel_sha256 or "–", a.placement or "–", a.note or "")
            groups.setdefault(key, []).append(m.name)
    rows = []
    for (name, role, sha, place, note), models in groups.items():
        who = ", ".join(models) if len(models) < 4 else f"{len(models)} models"
        rows.append([cells.text(v) for v in (name, role, sha, place, who, note)])
    return Table("Conditions", columns, [Group(None, rows)])


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    return str(value)
