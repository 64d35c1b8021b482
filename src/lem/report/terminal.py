"""The report on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lem.analysis import Analysis, ArmStats, Contrast, Domains, Ranked, ScorerAnalysis, StoredScores
from lem.stats import PairedEffect
from lem.study import Study
from lem.text import excerpt, number, printable

_DETAILED = 3
"""Models up to which every arm has its line; of more, the kernels have."""

_BETWEEN = ("models", "tuned", "resistance", "lineage")

_SENTENCES = 4
"""Comparisons of models up to which each is put into words, too."""

_PROBLEMS = 10
"""Problems that are shown one by one; the page has all."""


def print_report(study: Study, analysis: Analysis, console: Console) -> None:
    """The headline, the numbers behind it, and what has to be known of them."""
    for warning in analysis.warnings:
        _say(console, f"! {warning}", "yellow")
    for problem in study.problems[:_PROBLEMS]:
        _say(console, f"  {problem.kind}: {problem.place}: {problem.text}", "dim")
    if len(study.problems) > _PROBLEMS:
        _say(console, f"  … and {len(study.problems) - _PROBLEMS} more (the page has all)", "dim")
    if analysis.exploratory:
        _say(console, f"! Exploratory: {analysis.exploratory}", "yellow")
    if analysis.warnings or analysis.exploratory:
        console.print()
    primary = analysis.primary
    if len(study.models) <= _DETAILED:
        for model in study.models:
            _model(model.name, study, primary, console)
        _say(console, _LEGEND, "dim")
        console.print()
    else:
        _tables(console, [_kernels(primary)])
    _tables(console, [*map(_ranking, primary.rankings[:1]), *_stored(analysis.stored)])
    _tables(console, [_validity(analysis.scorers)])
    between = [c for c in primary.contrasts if c.kind in _BETWEEN]
    _tables(console, [_comparisons(between)])
    for line in _alone(between):
        _say(console, line, "dim")
    _say(console, analysis.headline, "bold")
    for sentence in primary.across if len(between) <= _SENTENCES else ():
        if sentence not in analysis.headline:
            _say(console, sentence)
    console.print()
    _say(console, " ".join(analysis.summary))
    for other in analysis.scorers[1:]:
        console.print()
        _say(console, _other(other))


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style=style))


def _tables(console: Console, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()


def _model(name: str, study: Study, found: ScorerAnalysis, console: Console) -> None:
    """All of one model: arms, differences, domains."""
    own = [c for c in found.contrasts if c.model == name]
    if len(study.models) > 1:
        _say(console, f"── {excerpt(name, 70)}", "bold")
    arms = [a for a in found.arms if a.model == name]
    _tables(console, [_arms(arms, found)])
    claims = [c for c in own if c.kind in ("kernel", "content", "noise")]
    _tables(console, [_differences(claims), _lengths(claims)])
    kernels = [c for c in own if c.kind == "kernel"]
    domains = {d.contrast: d for d in found.domains}
    _tables(console, [_domains(c, domains[c.id]) for c in kernels[:1] if c.id in domains])


_LEGEND = (
    "Brackets: 95 % intervals. ↑/=/↓ = probes more than 0.5 above, within, below. * = shown. loops "
    "= answers of which one run of four words in five was said before. cut = stopped at the token "
    "limit. p = after Holm over the declared family (expl.: in none). equal length = the "
    "difference between answers of equal length. detectable = with 80 % power, all tests counted. "
    "needed = probes for a true difference of this size, 80 % power in one test."
)


def _table(*columns: tuple[str, str]) -> Table:
    """A plain table; each column is a title and how it stands ("<" or ">")."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title, side in columns:
        table.add_column(
            title, justify="right" if side == ">" else "left", no_wrap=True, overflow="ellipsis"
        )
    return table


def _arms(arms: Sequence[ArmStats], found: ScorerAnalysis) -> Table:
    reference = next((a.arm for a in arms if a.role == "baseline"), None)
    score = excerpt(found.scorer, 9)
    table = _table(
        ("condition", "<"),
        ("n", ">"),
        (score, ">"),
        (f"− {reference or 'baseline'} [95 %]", "<"),
        ("↑/=/↓", ">"),
        *((name, ">") for name in ("words", "loops", "cut", "empty")),
    )
    table.columns[0].max_width = 14
    for arm in arms:
        contrast = found.contrast(arm.model, arm.arm, reference or "")
        effect = contrast.effect if contrast else None
        table.add_row(
            excerpt(arm.arm, 14),
            str(arm.n),
            _number(arm.mean),
            _interval(effect) + (" *" if contrast and _starred(contrast) else ""),
            f"{effect.better}/{effect.same}/{effect.worse}" if effect else "",
            "" if arm.words is None else f"{arm.words:.0f}",
            str(arm.repetitive),
            "?" if arm.unknown_end == arm.answers and arm.answers else str(arm.truncated),
            str(arm.empty),
        )
    return table


def _starred(contrast: Contrast) -> bool:
    return contrast.family is not None and contrast.shown and not contrast.in_noise


def _differences(contrasts: Sequence[Contrast]) -> Table:
    table = _table(
        ("difference", "<"),
        ("mean [95 % t]", "<"),
        ("bootstrap", "<"),
        ("median", ">"),
        ("sign p", ">"),
        ("p", ">"),
    )
    table.columns[0].max_width = 21
    for c in contrasts:
        if c.effect is None:
            continue
        e = c.effect
        table.add_row(
            _pair(c, 21),
            _interval(e),
            _ends(e.boot_low, e.boot_high),
            number(e.median, "+"),
            _p(e.sign_p),
            _p(c.p_adjusted) if c.family else "expl.",
        )
    return table


def _lengths(contrasts: Sequence[Contrast]) -> Table:
    table = _table(
        ("difference", "<"),
        ("words", ">"),
        ("equal length [95 %]", "<"),
        ("d_z", ">"),
        ("detectable", ">"),
        ("needed", ">"),
    )
    table.columns[0].max_width = 21
    for c in contrasts:
        if c.effect is None:
            continue
        length, d_z = c.length, c.effect.d_z
        table.add_row(
            _pair(c, 21),
            _percent(c),
            f"{number(length.effect, '+')} {_ends(length.low, length.high)}" if length else "n/a",
            "" if d_z is None else f"{d_z:+.2f}".replace("-", "−"),
            "" if c.detectable is None else number(c.detectable),
            "" if c.needed is None else f"{c.needed:,}",
        )
    return table


def _percent(contrast: Contrast) -> str:
    """By how much answers are longer, in percent of their geometric mean."""
    shifts = [u.length_shift for u in contrast.units if u.length_shift is not None]
    if not shifts:
        return ""
    change = 100 * (2.718281828459045 ** (sum(shifts) / len(shifts)) - 1)
    return f"{change:+.0f} %".replace("-", "−")


def _domains(contrast: Contrast, domains: Domains) -> Table:
    table = _table(
        (f"{_pair(contrast, 24)}, by domain", "<"),
        ("n", ">"),
        ("mean", ">"),
        ("pooled [95 %]", "<"),
    )
    table.columns[0].max_width = 40
    for group in sorted(domains.pooling.groups, key=lambda g: (-round(g.pooled, 6), -g.mean)):
        table.add_row(
            excerpt(str(group.key), 40),
            str(group.n),
            number(group.mean, "+"),
            f"{number(group.pooled, '+')} {_ends(group.low, group.high)}",
        )
    return table


def _kernels(found: ScorerAnalysis) -> Table:
    """One line a kernel of a model."""
    table = _table(
        ("model", "<"),
        ("kernel", "<"),
        ("n", ">"),
        ("− baseline [95 %]", "<"),
        ("− placebo [95 %]", "<"),
        ("finding", "<"),
    )
    table.columns[0].max_width, table.columns[1].max_width = 16, 6
    contrasts = {c.id: c for c in found.contrasts}
    for f in found.findings:
        base = contrasts[f.kernel_contrast].effect
        content = contrasts[f.content_contrast].effect if f.content_contrast else None
        table.add_row(
            excerpt(f.model, 16),
            excerpt(f.kernel, 6),
            str(base.n) if base else "0",
            _interval(base),
            _interval(content),
            f.code,
        )
    return table


def _comparisons(contrasts: Sequence[Contrast]) -> Table:
    """Comparisons of models, a line each; `alone` counts the probes that one side lacks."""
    table = _table(
        ("models", "<"),
        ("what", "<"),
        ("n", ">"),
        ("difference [95 %]", "<"),
        ("p", ">"),
        ("alone", ">"),
    )
    table.columns[0].max_width, table.columns[1].max_width = 23, 15
    for c in contrasts:
        e = c.effect
        p = None if e is None else c.p_adjusted if c.family else e.p
        table.add_row(
            excerpt(c.model, 23),
            excerpt(_what(c), 15),
            str(e.n) if e else "0",
            _interval(e),
            _p(p),
            str(len(c.unmatched)),
        )
    return table


def _alone(contrasts: Sequence[Contrast]) -> list[str]:
    """The probes that one side of a comparison lacks."""
    sets = {c.unmatched: c for c in contrasts if c.unmatched}
    said = []
    for names, contrast in list(sets.items())[:_SENTENCES]:
        more = f" and {len(names) - _PROBLEMS} more" if len(names) > _PROBLEMS else ""
        told = ", ".join(excerpt(name, 30) for name in names[:_PROBLEMS])
        said.append(f"On one side of {excerpt(contrast.model, 40)} only: {told}{more}.")
    return [*said, ""] if said else []


def _what(contrast: Contrast) -> str:
    """`json`, `json effect`, `json − txt`: what of two models is compared."""
    arm, reference = (name.rpartition(":")[2] for name in (contrast.arm, contrast.reference))
    if contrast.kind == "resistance":
        return f"{arm.rpartition('−')[0]} effect"
    return arm if arm == reference else f"{arm} − {reference}"


def _ranking(ranked: Ranked) -> Table:
    table = _table(
        (f"model ({excerpt(ranked.condition, 12)})", "<"),
        ("n", ">"),
        ("mean [95 %]", "<"),
        ("rank [95 %]", "<"),
        ("group", "<"),
    )
    table.columns[0].max_width = 34
    order = sorted(zip(ranked.models, ranked.ranking.systems), key=lambda pair: pair[1].rank)
    for name, system in order:
        table.add_row(
            excerpt(name, 34),
            str(system.n),
            f"{number(system.mean)} {_ends(system.low, system.high, '')}",
            f"{system.rank:g} [{system.rank_low:g}, {system.rank_high:g}]",
            system.letters,
        )
    return table


def _stored(stored: Sequence[StoredScores]) -> Iterator[Table]:
    """What files state beside what their texts give."""
    if not stored:
        return
    table = _table(
        ("stored scores", "<"),
        ("condition", "<"),
        ("score", "<"),
        ("n", ">"),
        ("stored", ">"),
        ("v2 now", ">"),
        ("differ", ">"),
    )
    table.columns[0].max_width, table.columns[1].max_width = 28, 14
    for s in stored:
        table.add_row(
            excerpt(s.model, 28),
            excerpt(s.arm, 14),
            s.version,
            str(s.n),
            _number(s.stored),
            _number(s.recomputed),
            str(s.disagreements) if s.version == "v2" else "n/a",
        )
    yield table


def _validity(scorers: Sequence[ScorerAnalysis]) -> Table:
    """Each score against what judges and people say of the same answers."""
    table = _table(
        ("rated by", "<"), ("rubric", "<"), ("score", "<"), ("answers", ">"), ("ρ [95 %]", "<")
    )
    table.columns[0].max_width, table.columns[1].max_width = 28, 18
    for found in scorers:
        for v in found.validity:
            rho = "n/a"
            if v.rho is not None and v.low is not None and v.high is not None:
                rho = f"{v.rho:+.2f} [{v.low:+.2f}, {v.high:+.2f}]".replace("-", "−")
            rater, rubric = excerpt(v.rater, 28), excerpt(v.rubric, 18)
            table.add_row(rater, rubric, excerpt(found.scorer, 14), f"{v.n:,}", rho)
    return table


def _other(found: ScorerAnalysis) -> str:
    """The findings of a scorer that is not the primary one, in one paragraph."""
    if not found.findings:
        return f"Beside it, on the {found.label}: nothing is compared."
    if len({f.model for f in found.findings}) == 1:
        sentences = " ".join(f.sentence for f in found.findings)
    else:
        kernels = [c for c in found.contrasts if c.kind == "kernel"]
        shown = sum(c.shown and not c.in_noise for c in kernels)
        sentences = f"{shown} of {len(kernels)} kernel effects are shown after Holm."
    return f"Beside it, on the {found.label} (exploratory): {sentences} {found.caution}"


def _pair(contrast: Contrast, width: int) -> str:
    if contrast.kind == "noise":
        return excerpt(f"{contrast.reference} asked twice", width)
    reference = contrast.reference.replace(f"placebo-{contrast.arm}", "its placebo")
    return excerpt(f"{contrast.arm} − {reference}", width)


def _interval(effect: PairedEffect | None) -> str:
    if effect is None:
        return ""
    return f"{number(effect.mean, '+')} {_ends(effect.low, effect.high)}"


def _ends(low: float | None, high: float | None, sign: str = "+") -> str:
    if low is None or high is None:
        return "[n/a]"
    return f"[{number(low, sign)}, {number(high, sign)}]"


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)


def _p(value: float | None) -> str:
    if value is None:
        return "n/a"
    return "<.001" if value < 0.001 else f"{value:.3f}"[1:] if value < 0.9995 else "1.000"


def print_answer(console: Console, title: str, answer: str) -> None:
    """One model answer, made harmless."""
    console.print(Text(printable(title), style="bold"))
    console.print(Text(printable(answer)))
    console.print()
