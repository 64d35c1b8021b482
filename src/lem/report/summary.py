"""From scored answers to arms, paired contrasts and domains.

The unit is the probe: samples of one probe are averaged first. A contrast uses the probes that
both arms answered, and lists the ones it could not.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lem.records import Condition, Probe, Response
from lem.stats import PairedEffect, holm, mean_by, paired_effect

#: In v2 points; the threshold of the published improved/regressed counts.
TIE = 0.5


@dataclasses.dataclass(frozen=True)
class ArmSummary:
    """One condition."""

    name: str
    role: str
    probes: int
    answers: int
    mean: float
    """Mean score over probes."""
    words: float
    """Mean words an answer, over probes."""
    truncated: int
    """Answers cut off at max_tokens."""
    empty: int
    repetitive: int
    """Answers of which the scorer says that they repeat themselves."""
    other: int
    """Answers withheld by the server, or whose end is unknown."""


@dataclasses.dataclass(frozen=True)
class Contrast:
    """One arm against another, over the same probes."""

    arm: str
    reference: str
    effect: PairedEffect
    p_holm: float | None
    """Adjusted over the kernel arms (the primary family); None outside it."""
    unmatched: list[str]
    """Probes that one of the two did not answer."""


@dataclasses.dataclass(frozen=True)
class Summary:
    score_name: str
    score_version: str
    model: str
    max_tokens: int
    temperature: float
    reference: str
    """The arm that the others are compared with."""
    arms: list[ArmSummary]
    contrasts: list[Contrast]
    """Every arm against the reference, then each kernel against its placebo."""
    domains: dict[str, dict[str, float]]
    """Domain -> arm -> mean score."""
    domain_probes: dict[str, int]

    def contrast(self, arm: str, reference: str | None = None) -> Contrast | None:
        """The contrast of two arms, if it was made."""
        against = reference or self.reference
        found = (c for c in self.contrasts if c.arm == arm and c.reference == against)
        return next(found, None)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def summarise(
    *,
    score_name: str,
    score_version: str,
    model: str,
    max_tokens: int,
    temperature: float,
    probes: Sequence[Probe],
    conditions: Sequence[Condition],
    responses: Sequence[Response],
    scores: Mapping[str, float],
    repetitive: Collection[str] = (),
) -> Summary:
    """Compute the summary.

    Args:
        conditions: in order; the baseline, or where there is none the first, is the reference.
        scores: response key -> score.
        repetitive: keys of the responses that repeat themselves.
    """
    by_arm: dict[str, list[Response]] = {c.name: [] for c in conditions}
    for response in responses:
        by_arm[response.condition].append(response)
    means = {
        name: mean_by((r.probe, scores[r.key]) for r in answers) for name, answers in by_arm.items()
    }
    reference = next((c for c in conditions if c.role == "baseline"), conditions[0]).name
    kernels = [c.name for c in conditions if c.role == "kernel" and c.name != reference]
    others = [c.name for c in conditions if c.name != reference]
    pairs = [(name, reference) for name in others]
    pairs += [(k, f"placebo-{k}") for k in kernels if f"placebo-{k}" in by_arm]
    made = (_contrast(arm, ref, means[arm], means[ref]) for arm, ref in pairs)
    contrasts = _adjust([c for c in made if c is not None], kernels, reference)
    domains = list(dict.fromkeys(p.domain for p in probes))
    return Summary(
        score_name=score_name,
        score_version=score_version,
        model=model,
        max_tokens=max_tokens,
        temperature=temperature,
        reference=reference,
        arms=[_arm(c, by_arm[c.name], means[c.name], repetitive) for c in conditions],
        contrasts=contrasts,
        domains={domain: _domain_means(domain, probes, means) for domain in domains},
        domain_probes={d: sum(p.domain == d for p in probes) for d in domains},
    )


def _domain_means(
    domain: str, probes: Sequence[Probe], means: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    ids = [p.id for p in probes if p.domain == domain]
    own = {name: [by_probe[i] for i in ids if i in by_probe] for name, by_probe in means.items()}
    return {name: statistics.fmean(values) for name, values in own.items() if values}


def _adjust(contrasts: list[Contrast], kernels: Sequence[str], reference: str) -> list[Contrast]:
    """Holm over the primary family: every kernel arm against the reference."""
    family = [i for i, c in enumerate(contrasts) if c.arm in kernels and c.reference == reference]
    for i, p in zip(family, holm([contrasts[i].effect.p for i in family])):
        contrasts[i] = dataclasses.replace(contrasts[i], p_holm=p)
    return contrasts


def _contrast(
    arm: str, reference: str, own: Mapping[str, float], other: Mapping[str, float]
) -> Contrast | None:
    both = [probe for probe in own if probe in other]
    if not both:
        return None
    return Contrast(
        arm=arm,
        reference=reference,
        effect=paired_effect([own[p] - other[p] for p in both], tie=TIE),
        p_holm=None,
        unmatched=sorted(set(own) ^ set(other)),
    )


def _arm(
    condition: Condition,
    answers: Sequence[Response],
    means: Mapping[str, float],
    repetitive: Collection[str],
) -> ArmSummary:
    words = mean_by((r.probe, float(len(r.final.split()))) for r in answers)
    return ArmSummary(
        name=condition.name,
        role=condition.role,
        probes=len(means),
        answers=len(answers),
        mean=statistics.fmean(means.values()) if means else 0.0,
        words=statistics.fmean(words.values()) if words else 0.0,
        truncated=sum(r.finish_reason == "length" for r in answers),
        empty=sum(not r.final.strip() for r in answers),
        repetitive=sum(r.key in repetitive for r in answers),
        other=sum(r.finish_reason not in ("stop", "length") for r in answers),
    )
