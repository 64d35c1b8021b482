"""From judgements to what they show: one row a rubric and condition, and the agreement."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lem.judge.judging import Judged, Judgement, Mode
from lem.judge.material import Material
from lem.judge.rubrics import HIGHEST, LOWEST
from lem.stats import PairedEffect, mean_by, paired_effect
from lem.stats.agreement import Agreement, cohen_kappa, krippendorff_alpha, wilson, with_interval

#: Shares of unscored answers may differ by this much before a worst case is worked out.
MISSING_TOLERANCE = 0.02

Ratings = Mapping[tuple[str, ...], float]
"""What a rater said, by `Judgement.place`."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """The answers of one condition."""

    condition: str
    answers: int
    words: float
    """Mean an answer, over probes."""
    cut: int
    """Answers that stopped at the token limit. They are judged as they are."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One condition by one rubric. The unit is the probe: its samples and rephrasings are
    averaged first."""

    rubric: str
    condition: str
    judgements: int
    unscored: dict[str, int]
    """Reason -> judgements without a value."""
    n: int
    """Probes with a value."""
    value: float | None
    """Mean score; in pairs the share of won among won and lost probes."""
    low: float | None
    high: float | None
    """95 % interval of the value: t of a mean, Wilson of a share."""
    effect: PairedEffect | None
    """In scores: paired difference to the reference. In pairs: the mean verdict a probe, between
    -1 and 1, with won, tied and lost probes and their sign test."""
    flips: int | None = None
    both: int | None = None
    """In pairs: of so many verdicts given in both orders, so many changed with the order."""
    worst: float | None = None
    best: float | None = None
    """Mean difference if all that is unscored were to count against the condition, or for it;
    where the shares of unscored answers differ by more than two points."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """This judge and another rater on one rubric."""

    rubric: str
    other: str
    kappa: Agreement
    """Cohen's, with quadratic weights."""
    alpha: Agreement
    """Krippendorff's, ordinal."""


@dataclasses.dataclass(frozen=True)
class Summary:
    judge: str
    """The folder."""
    mode: Mode
    reference: str | None
    arms: list[Arm]
    rows: list[Row]
    agreement: list[Compared]
    self_judging: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def summarise(
    judged: Judged, material: Material, reference: str | None, others: Mapping[str, Ratings]
) -> Summary:
    """Compute the summary.

    Args:
        reference: the condition that others are compared with; None: there is none.
        others: further raters of the same answers, by name.
    """
    rows = []
    for rubric in dict.fromkeys(j.rubric for j in judged.judgements):
        mine = [j for j in judged.judgements if j.rubric == rubric]
        for condition in dict.fromkeys(j.condition for j in mine):
            own = [j for j in mine if j.condition == condition]
            if judged.mode == "pairs":
                rows.append(_pairs_row(own))
            else:
                rows.append(_scores_row(own, [j for j in mine if j.condition == reference]))
    return Summary(
        judge=judged.folder.name,
        mode=judged.mode,
        reference=reference,
        arms=[_arm(material, condition) for condition in material.conditions],
        rows=rows,
        agreement=[c for name, r in others.items() for c in _compare(judged.judgements, name, r)],
        self_judging=judged.warnings,
        notes=judged.notes,
    )


def _arm(material: Material, condition: str) -> Arm:
    own = [a for a in material.answers if a.condition == condition]
    words = mean_by((a.unit, float(len(a.text.split()))) for a in own)
    return Arm(condition, len(own), statistics.fmean(words.values()), sum(a.cut for a in own))


def _means(judgements: Iterable[Judgement], fill: float | None = None) -> dict[str, float]:
    """Mean value a unit; what has no value is left out, or filled in."""
    values = ((j.unit, fill if j.value is None else float(j.value)) for j in judgements)
    return mean_by((unit, value) for unit, value in values if value is not None)


def _missing(judgements: Sequence[Judgement]) -> dict[str, int]:
    return dict(Counter(j.unscored for j in judgements if j.unscored).most_common())


def _scores_row(own: Sequence[Judgement], reference: Sequence[Judgement]) -> Row:
    means, base = _means(own), _means(reference)
    whole = paired_effect(list(means.values())) if means else None
    pairs = [means[u] - base[u] for u in means if u in base]
    compared = bool(reference) and reference[0].condition != own[0].condition
    row = Row(
        rubric=own[0].rubric,
        condition=own[0].condition,
        judgements=len(own),
        unscored=_missing(own),
        n=len(means),
        value=whole.mean if whole else None,
        low=whole.low if whole else None,
        high=whole.high if whole else None,
        effect=paired_effect(pairs) if compared and pairs else None,
    )
    shares = [sum(j.value is None for j in js) / max(1, len(js)) for js in (own, reference)]
    if not compared or abs(shares[0] - shares[1]) <= MISSING_TOLERANCE:
        return row
    return dataclasses.replace(
        row,
        worst=_filled(own, LOWEST, reference, HIGHEST),
        best=_filled(own, HIGHEST, reference, LOWEST),
    )


def _filled(
    own: Sequence[Judgement], fill: float, reference: Sequence[Judgement], other: float
) -> float:
    means, base = _means(own, fill), _means(reference, other)
    return statistics.fmean(means[u] - base[u] for u in means if u in base)


def _pairs_row(own: Sequence[Judgement]) -> Row:
    means = _means(own)
    effect = paired_effect(list(means.values()), tie=0.0) if means else None
    decided = effect.better + effect.worse if effect else 0
    low, high = wilson(effect.better, decided) if effect and decided else (None, None)
    return Row(
        rubric=own[0].rubric,
        condition=own[0].condition,
        judgements=len(own),
        unscored=_missing(own),
        n=len(means),
        value=effect.better / decided if effect and decided else None,
        low=low,
        high=high,
        effect=effect,
        flips=sum(j.flipped is True for j in own),
        both=sum(j.flipped is not None for j in own),
    )


def _compare(judgements: Sequence[Judgement], name: str, ratings: Ratings) -> list[Compared]:
    """Agreement on each rubric, over what both rated. Answers to one probe are resampled
    together: they are not independent."""
    compared = []
    for rubric in dict.fromkeys(j.rubric for j in judgements):
        both = [
            (j.unit, (float(j.value), float(ratings[j.place])))
            for j in judgements
            if j.rubric == rubric and j.value is not None and j.place in ratings
        ]
        if both:
            units, pairs = zip(*both)
            kappa = with_interval(cohen_kappa, pairs, units)
            alpha = with_interval(krippendorff_alpha, pairs, units)
            compared.append(Compared(rubric, name, kappa, alpha))
    return compared
