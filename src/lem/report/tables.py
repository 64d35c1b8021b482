"""What an analysis holds about each model, as tables. No number is made here."""

from __future__ import annotations

from lem.analysis import Analysis, Domains, ScorerAnalysis
from lem.report import cells
from lem.report.cells import Cell, Column, Group, Table
from lem.report.comparisons import title_of
from lem.report.methods import score_anchor
from lem.study import Study
from lem.text import number

DOMAINS = 200
"""Domains listed."""


def arms_table(study: Study, part: ScorerAnalysis) -> Table:
    """Every condition by itself."""
    many = len(study.models) > 1
    columns = [
        *([Column("model", None, numeric=False)] if many else []),
        Column("condition", None, numeric=False),
        Column("role", None, numeric=False),
        Column("n", "m-unit"),
        Column("mean score", score_anchor(part.scorer)),
        Column("95 % t", "m-mean"),
        Column("sd", "m-spread"),
        Column("quartiles", "m-spread"),
        Column("words", "m-words"),
        Column("ρ with length", "m-rho"),
    ]
    rows = []
    for a in part.arms:
        rows.append(
            [
                *([cells.text(a.model)] if many else []),
                cells.text(a.arm),
                cells.text(a.role),
                cells.count(a.n),
                cells.level(a.mean),
                cells.between(a.low, a.high, ""),
                cells.level(a.sd),
                Cell(cells.NONE)
                if a.quartiles is None
                else Cell(" · ".join(number(q) for q in a.quartiles), a.quartiles[1]),
                Cell(cells.NONE) if a.words is None else Cell(f"{a.words:.0f}", a.words),
                cells.ratio(a.length_rho),
            ]
        )
    return Table("Each condition by itself", columns, [Group(None, rows)])


_COUNTS = (
    ("missing", "missing"),
    ("unscored", "unscored"),
    ("empty", "empty"),
    ("cut", "truncated"),
    ("end unknown", "unknown_end"),
    ("malformed", "malformed"),
    ("refused", "refused"),
    ("loops", "repetitive"),
    ("not English", "foreign"),
    ("leaks", "leaks"),
)


def missing_table(study: Study, part: ScorerAnalysis) -> Table:
    """What is missing or doubtful, condition by condition (R13)."""
    many = len(study.models) > 1
    columns = [
        *([Column("model", None, numeric=False)] if many else []),
        Column("condition", None, numeric=False),
        Column("answers", "m-missing"),
        *(Column(label, "m-missing") for label, _ in _COUNTS),
    ]
    rows = []
    for a in part.arms:
        asked = a.probes + a.missing
        rows.append(
            [
                *([cells.text(a.model)] if many else []),
                cells.text(a.arm),
                cells.count(a.answers),
                *(
                    cells.share(getattr(a, name), asked if name == "missing" else a.answers)
                    for _, name in _COUNTS
                ),
            ]
        )
    return Table("By condition", columns, [Group(None, rows)])


def validity_table(part: ScorerAnalysis) -> Table:
    """The score against what judges and people say of the same answers (R10)."""
    columns = [
        Column("rated by", None, numeric=False),
        Column("rubric", None, numeric=False),
        Column("answers", "m-validity"),
        Column("ρ with the score", "m-validity"),
        Column("95 %", "m-validity"),
    ]
    rows = [
        [
            cells.text(v.rater),
            cells.text(v.rubric),
            cells.count(v.n),
            cells.ratio(v.rho),
            Cell(cells.NONE)
            if v.low is None or v.high is None
            else Cell(f"[{v.low:+.2f}, {v.high:+.2f}]".replace("-", "−")),
        ]
        for v in part.validity
    ]
    return Table("The score against judges and people", columns, [Group(None, rows)])


def domain_table(study: Study, part: ScorerAnalysis, domains: Domains) -> Table:
    """One contrast, domain by domain."""
    contrast = part.by_id(domains.contrast)
    columns = [
        Column("domain", None, numeric=False),
        Column("n", "m-unit"),
        Column("raw", "m-domains"),
        Column("pooled", "m-domains"),
        Column("95 % of pooled", "m-domains"),
        Column("p (BH)", "m-domains"),
    ]
    rows = [
        [
            cells.text(str(g.key)),
            cells.count(g.n),
            cells.points(g.mean),
            cells.points(g.pooled),
            cells.between(g.low, g.high),
            cells.chance(domains.p.get(str(g.key))),
        ]
        for g in sorted(domains.pooling.groups, key=lambda g: -g.pooled)[:DOMAINS]
    ]
    p = domains.pooling
    left = len(p.groups) - len(rows)
    notes = [f"{left:,} more domains are not listed."] if left else []
    notes += [
        f"All domains: {cells.estimate(p.mu, p.low, p.high)}; sd between domains "
        f"{number(p.tau)}, within them {number(p.sigma)}."
    ]
    return Table(title_of(contrast, len(study.models) > 1), columns, [Group(None, rows)], notes)


def stored_table(analysis: Analysis) -> Table:
    """Stored beside recomputed scores."""
    columns = [
        Column("model", None, numeric=False),
        Column("condition", None, numeric=False),
        Column("version", "m-stored", numeric=False),
        Column("answers", "m-stored"),
        Column("mean stored", "m-stored"),
        Column("mean recomputed", "m-stored"),
        Column("disagreements", "m-stored"),
    ]
    rows = [
        [
            cells.text(s.model),
            cells.text(s.arm),
            cells.text(s.version),
            cells.count(s.n),
            cells.level(s.stored),
            cells.level(s.recomputed),
            cells.count(s.disagreements),
        ]
        for s in analysis.stored
    ]
    return Table("Scores stated in the files, and worked out again", columns, [Group(None, rows)])
