"""Comparisons as tables: how large, how sure, and what they come to. No number is made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lem.analysis import Contrast, ScorerAnalysis
from lem.report import cells
from lem.report.cells import Cell, Column, Group, Table
from lem.report.packing import pack
from lem.study import Study
from lem.text import printable

WITHIN = {
    "kernel": "Kernel − baseline",
    "content": "Kernel − its placebo",
    "words": "Kernel − its own words shuffled",
    "control": "Control − baseline",
    "noise": "Baseline asked a second time − baseline",
    "layout": "Layout: JSON against prose",
}
"""Kinds of contrasts within one model, in the order of their tables."""

BETWEEN = {
    "models": "One model − another",
    "tuned": "Tuned model − its untuned base",
    "resistance": "Kernel effect on the tuned model − on its base",
    "lineage": "Model − the version before it",
}
"""Kinds of contrasts between models."""

CODES = {
    "content": "More than its placebo",
    "length": "Not told from length",
    "any prompt": "Not told from any prompt",
    "unattributed": "Differs, cause open",
    "placebo differs": "Differs from placebo only",
    "mixed": "Contradictory",
    "not shown": "Not shown",
    "noise": "Within the noise",
    "untestable": "Too few to tell",
}
"""Findings in two or three words."""

UNITS = 3000
"""Units of a contrast that are listed; effects.json has all of them."""


def contrast_anchor(contrast_id: str) -> str:
    """Anchor of a contrast's row."""
    return cells.anchor("c", contrast_id)


def units_anchor(contrast_id: str) -> str:
    """Anchor of the differences behind a contrast."""
    return cells.anchor("u", contrast_id)


def of_kinds(part: ScorerAnalysis, kinds: Iterable[str]) -> list[Contrast]:
    """The contrasts of these kinds, kind by kind."""
    return [c for kind in kinds for c in part.contrasts if c.kind == kind]


def title_of(contrast: Contrast, many: bool) -> str:
    """``json − baseline``, with its model where there are several."""
    if contrast.kind in BETWEEN:
        own, other = contrast.arm.rpartition(":")[2], contrast.reference.rpartition(":")[2]
        told = own if own == other else f"{own} / {other}"
        return f"{contrast.model} ({told})"
    told = f"{contrast.arm} − {contrast.reference}"
    return f"{contrast.model}: {told}" if many else told


def effect_table(study: Study, part: ScorerAnalysis, kinds: Mapping[str, str]) -> Table:
    """How large each difference is, and how sure."""
    columns = [
        Column("comparison", None, numeric=False),
        Column("n", "m-unit"),
        Column("mean difference", "m-diff"),
        Column("95 % t", "m-t"),
        Column("95 % bootstrap", "m-boot"),
        Column("at equal length", "m-length"),
        Column("p adjusted", "m-holm"),
        Column("d_z", "m-dz"),
        Column("better", "m-moves"),
        Column("same", "m-moves"),
        Column("worse", "m-moves"),
        Column("detectable", "m-detectable"),
    ]
    return Table(
        "How large, and how sure",
        columns,
        _by_kind(study, part, kinds, _effect_row, anchored=True),
        _families(of_kinds(part, kinds)),
    )


def robust_table(study: Study, part: ScorerAnalysis, kinds: Mapping[str, str]) -> Table:
    """Whether another look at the same differences says the same."""
    columns = [
        Column("comparison", None, numeric=False),
        Column("median", "m-median"),
        Column("95 % of median", "m-median"),
        Column("p sign test", "m-sign"),
        Column("p signed ranks", "m-wilcoxon"),
        Column("p t test", "m-t"),
        Column("complete pairs", "m-complete"),
        Column("n", "m-complete"),
        Column("worst case", "m-worst"),
        Column("noise floor", "m-noise"),
        Column("units needed", "m-needed"),
        Column("unmatched", "m-diff"),
        Column("remarks", "m-t", numeric=False),
    ]
    return Table(
        "Would another look say the same?", columns, _by_kind(study, part, kinds, _robust_row)
    )


def _by_kind(
    study: Study,
    part: ScorerAnalysis,
    kinds: Mapping[str, str],
    row: Callable[[Contrast, bool], list[Cell]],
    anchored: bool = False,
) -> list[Group]:
    many = len(study.models) > 1
    groups = []
    for kind, heading in kinds.items():
        found = of_kinds(part, [kind])
        if found:
            ids = [contrast_anchor(c.id) for c in found] if anchored else []
            rows = [row(c, many) for c in found]
            groups.append(Group(f"{heading} · {_family(found, part.primary)}", rows, ids))
    return groups


def _row_title(contrast: Contrast, many: bool) -> str:
    """As `title_of`, without the reference where the heading of its group says it."""
    if many and contrast.kind in ("kernel", "content", "words", "control", "noise"):
        return f"{contrast.model}: {contrast.arm}"
    return title_of(contrast, many)


def _family(found: Sequence[Contrast], primary: bool) -> str:
    first = found[0]
    if first.family is None:
        return "exploratory, p not adjusted"
    tests = "1 test" if first.family_size == 1 else f"{first.family_size} tests"
    if not primary:
        return f"exploratory, Holm over “{first.family}”, {tests}"
    return f"declared family “{first.family}”, {tests}, Holm"


def _effect_row(c: Contrast, many: bool) -> list[Cell]:
    e, faint = c.effect, c.in_noise
    name = cells.text(_row_title(c, many), link=units_anchor(c.id))
    if e is None:
        return [name, cells.count(0), *[Cell(cells.NONE)] * 10]
    adjusted = c.length
    return [
        name,
        cells.count(e.n),
        cells.points(e.mean, faint=faint),
        cells.between(e.low, e.high),
        cells.between(e.boot_low, e.boot_high),
        cells.estimated(adjusted.effect, adjusted.low, adjusted.high)
        if adjusted
        else Cell(cells.NONE),
        Cell(cells.p_text(c.p_adjusted), c.p_adjusted)
        if c.family
        else Cell("expl.", None, hint="exploratory: no family was declared", faint=True),
        cells.ratio(e.d_z),
        cells.wilson(e.better, e.n, e.better_low, e.better_high),
        cells.count(e.same),
        cells.wilson(e.worse, e.n, e.worse_low, e.worse_high),
        Cell(cells.NONE) if c.detectable is None else cells.level(c.detectable),
    ]


def _robust_row(c: Contrast, many: bool) -> list[Cell]:
    e = c.effect
    name = cells.text(_row_title(c, many), link=contrast_anchor(c.id))
    if e is None:
        return [name, *[Cell(cells.NONE)] * 10, cells.count(len(c.unmatched)), Cell("no pairs")]
    whole = c.complete
    remarks = [
        told
        for told, applies in (
            ("within the noise", c.in_noise),
            ("wide tail", e.noisy_tail),
            ("length extrapolated", bool(c.length and c.length.extrapolated)),
        )
        if applies
    ]
    return [
        name,
        cells.points(e.median),
        cells.between(e.median_low, e.median_high),
        cells.chance(e.sign_p),
        cells.chance(e.wilcoxon_p),
        cells.chance(e.p),
        cells.estimated(whole.mean, whole.low, whole.high) if whole else Cell(cells.NONE),
        cells.count(whole.n) if whole else Cell(cells.NONE),
        cells.between(c.worst.low, c.worst.high) if c.worst else Cell(cells.NONE),
        Cell(cells.NONE) if c.noise is None else cells.level(c.noise),
        Cell(cells.NONE) if c.needed is None else cells.count(c.needed),
        cells.count(len(c.unmatched)),
        Cell("; ".join(remarks)),
    ]


def _families(found: Sequence[Contrast]) -> list[str]:
    names = {c.family: c.family_size for c in found if c.family}
    told = "; ".join(f"“{name}”: {size}" for name, size in names.items())
    notes = ["Brackets are 95 % intervals. Grey: no larger than the noise floor."]
    if told:
        notes.append(f"Families of tests and their sizes: {told}.")
    return notes


def unmatched(study: Study, part: ScorerAnalysis) -> list[tuple[str, tuple[str, ...]]]:
    """Comparisons with probes that only one side has a score for, and these probes."""
    many = len(study.models) > 1
    return [(title_of(c, many), c.unmatched) for c in part.contrasts if c.unmatched]


def findings_table(part: ScorerAnalysis) -> Table:
    """All findings, where they are too many for cards."""
    columns = [
        Column("model", None, numeric=False),
        Column("kernel", None, numeric=False),
        Column("finding", "m-finding", numeric=False),
        Column("kernel − baseline", "m-diff"),
        Column("p adjusted", "m-holm"),
        Column("kernel − placebo", "m-diff"),
        Column("p adjusted", "m-holm"),
        Column("at equal length", "m-length"),
    ]
    rows = []
    for f in part.findings:
        own = part.by_id(f.kernel_contrast)
        other = part.by_id(f.content_contrast) if f.content_contrast else None
        length = (other or own).length
        rows.append(
            [
                cells.text(f.model),
                cells.text(f.kernel),
                cells.text(CODES.get(f.code, f.code), hint=f.sentence),
                effect_cell(own),
                cells.chance(own.p_adjusted),
                effect_cell(other) if other else Cell(cells.NONE),
                cells.chance(other.p_adjusted) if other else Cell(cells.NONE),
                cells.estimated(length.effect, length.low, length.high)
                if length
                else Cell(cells.NONE),
            ]
        )
    return Table(
        "Every kernel on every model",
        columns,
        [Group(None, rows)],
        ["At equal length: of the comparison with the placebo, or the baseline without one."],
    )


def effect_cell(c: Contrast) -> Cell:
    """The mean difference with its interval, leading to its row."""
    e = c.effect
    if e is None:
        return Cell(cells.NONE, link=contrast_anchor(c.id))
    told = cells.estimate(e.mean, e.low, e.high)
    return Cell(told, e.mean, link=contrast_anchor(c.id), faint=c.in_noise)


def packed_units(part: ScorerAnalysis) -> str:
    """The differences behind each contrast, packed."""

    def six(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    limit = unit_limit(part)
    return pack(
        {
            units_anchor(c.id): [
                [
                    printable(u.id),
                    printable(u.domain),
                    six(u.arm),
                    six(u.reference),
                    six(u.length_shift),
                ]
                for u in c.units[:limit]
            ]
            for c in part.contrasts
            if c.units
        }
    )


def unit_limit(part: ScorerAnalysis) -> int:
    """How many units of each contrast are listed."""
    return max(100, min(UNITS, 400_000 // max(1, len(part.contrasts))))
