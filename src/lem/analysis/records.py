"""What a study shows, as numbers. Frozen; `to_json` is the content of effects.json.

Every number belongs to a record with its n, its interval and how it was made (`kind`, `family`).
A record's `id` is unique in an analysis and stays the same from one build to the next, so a page
can link to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from lem.stats import EstimatePooling, GroupPooling, LengthAdjusted, PairedEffect, Ranking
from lem.stats.variance import VarianceSplit

Kind = Literal[
    "kernel",  # a kernel arm − the baseline: the primary family, all models × kernels, Holm
    "content",  # a kernel arm − its placebo: the only ground for a claim about content (R11), Holm
    "words",  # a kernel arm − the same words shuffled: exploratory
    "control",  # a control arm − the baseline: exploratory
    "noise",  # the baseline asked a second time − the baseline (R7)
    "layout",  # (json − its placebo) − (txt − its placebo); without placebos json − txt
    "models",  # one model − another one, same condition (lem compare)
    "tuned",  # a tuned model's baseline − that of its untuned base, Holm
    "resistance",  # a kernel's effect on a tuned model − its effect on the base (R14), Holm
    "lineage",  # a model's baseline − that of the version before it, Holm
]

FindingCode = Literal[
    "content",  # differs from baseline and placebo in one direction, also at equal length
    "length",  # differs from both, but not shown at equal length
    "any prompt",  # differs from the baseline, not shown against the placebo: cause open
    "unattributed",  # differs from the baseline; there is no placebo to compare with
    "placebo differs",  # not shown against the baseline, but against the placebo
    "mixed",  # shown against both, in opposite directions
    "not shown",
    "noise",  # shown, but no larger than what asking the baseline twice may give
    "untestable",  # fewer than `FEW` units in common
]

FEW = 10
"""Units below which nothing is called shown, whatever its p (R3): means of so few skewed scores
carry no claim. Ours."""


@dataclasses.dataclass(frozen=True)
class ArmStats:
    """The answers of one condition of one model under one scorer (R9, R13)."""

    model: str
    arm: str
    role: str
    n: int
    """Units (dilemmas) with a score."""
    probes: int
    """Probes with an answer."""
    answers: int
    mean: float | None
    """Of the unit means."""
    low: float | None
    """95 % t interval of the mean over units: of this arm alone, not of a difference."""
    high: float | None
    sd: float | None
    quartiles: tuple[float, float, float] | None
    words: float | None
    """Mean words an answer, over units."""
    missing: int
    """Probes of this model's other arms that this arm has no answer to."""
    unscored: int
    """Answers to which the scorer does not apply."""
    empty: int
    truncated: int
    unknown_end: int
    """Answers of which nobody knows whether they were cut off."""
    malformed: int
    refused: int
    repetitive: int
    foreign: int
    leaks: int
    """Answers that recite a kernel."""
    length_rho: float | None
    """Spearman correlation of score and words over the answers of the arm."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """One dilemma in a contrast."""

    id: str
    """Cluster; where a cluster is one probe, that probe's id."""
    domain: str
    arm: float
    reference: float
    """Mean scores; arm − reference is the difference. In a difference of differences these are
    the two effects."""
    length_shift: float | None
    """Mean log(words of the arm) − log(words of the reference)."""


@dataclasses.dataclass(frozen=True)
class Worst:
    """Bounds of the mean difference if every missing score (of an answer without one, or of a
    probe that only one arm answered) were the lowest or the highest seen (R13); worked out where
    the arms' shares of missing scores differ by more than two points. None for differences of
    differences: see the two."""

    low: float
    high: float
    missing: int


@dataclasses.dataclass(frozen=True)
class Contrast:
    """One paired comparison."""

    id: str
    """`v2/gemma-3-1b/json−baseline`."""
    kind: Kind
    scorer: str
    model: str
    """In a comparison of models: `A − B`."""
    arm: str
    reference: str
    effect: PairedEffect | None
    """None where no unit is in both arms."""
    family: str | None
    """Name of the declared family of tests; None: exploratory."""
    family_size: int
    p_adjusted: float | None
    """By Holm over the family; None outside one."""
    detectable: float | None
    """Smallest true mean difference found with 80 % power at this family's level (R6); None where
    there is no spread to tell it from."""
    needed: int | None
    """Units needed to find a true difference as large as the observed one (80 % power, one
    test); None where there is no spread or no difference."""
    length: LengthAdjusted | None
    """The effect at equal length (R9)."""
    complete: PairedEffect | None
    """Over the pairs of which no answer is known to be cut off; None where none was, or none is
    left."""
    worst: Worst | None
    noise: float | None
    """The noise floor of this model and scorer (R7); None where it was not measured."""
    in_noise: bool
    """Whether the mean difference is no larger than the noise floor."""
    unmatched: tuple[str, ...]
    """Probes that one of the two (of the four) did not answer, or whose answer has no score."""
    units: tuple[Unit, ...]

    @property
    def shown(self) -> bool:
        """Whether the difference is shown at 5 %: adjusted where it belongs to a family, and over
        at least `FEW` units."""
        if self.effect is None or self.effect.n < FEW:
            return False
        p = self.p_adjusted if self.family else self.effect.p
        return p is not None and p < 0.05


@dataclasses.dataclass(frozen=True)
class Domains:
    """A contrast by domain (R4): raw and partially pooled effects, in order of first sight."""

    contrast: str
    """Id of the contrast."""
    pooling: GroupPooling
    p: Mapping[str, float | None]
    """Raw t test of each domain with at least two units, adjusted by Benjamini–Hochberg (R5)."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What can be said of one kernel on one model under one scorer, in words."""

    scorer: str
    model: str
    kernel: str
    code: FindingCode
    sentence: str
    kernel_contrast: str
    """Ids of the contrasts it rests on."""
    content_contrast: str | None


@dataclasses.dataclass(frozen=True)
class Scale:
    """Score against size within one family and version."""

    scorer: str
    family: str
    condition: str
    models: tuple[str, ...]
    sizes: tuple[float, ...]
    effect: PairedEffect | None
    """Change of the score for each doubling of the size: one slope a unit, averaged."""


@dataclasses.dataclass(frozen=True)
class Families:
    """A kernel's effect pooled over models (random effects); models tuned from another one of
    the study are left out."""

    scorer: str
    kernel: str
    kind: str
    """`kernel` or `content`."""
    models: tuple[str, ...]
    families: tuple[str | None, ...]
    overall: EstimatePooling | None
    by_family: Mapping[str, EstimatePooling]
    """Only families of at least two models."""


@dataclasses.dataclass(frozen=True)
class Ranked:
    """Models of one condition in order, with groups that cannot be told apart."""

    scorer: str
    condition: str
    ranking: Ranking
    """Its systems are `models`, in that order."""
    models: tuple[str, ...]
    n: int
    """Units that were compared: those that all of the models have."""


@dataclasses.dataclass(frozen=True)
class StoredScores:
    """What a file states beside what its texts give."""

    model: str
    arm: str
    version: str
    n: int
    stored: float | None
    """Mean of the stored scores."""
    recomputed: float | None
    """Mean v2 of the same answers."""
    disagreements: int


@dataclasses.dataclass(frozen=True)
class Validity:
    """A score against what somebody else says of the same answers (R10)."""

    rater: str
    """A judge's folder, or a file of people's labels."""
    rubric: str
    n: int
    """Answers. Those to one probe are not independent: the interval errs on the narrow side."""
    rho: float | None
    """Spearman's; None below four answers, or where score or rating is one constant."""
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class ScorerAnalysis:
    """Everything of one scorer."""

    scorer: str
    version: str
    label: str
    caution: str
    """What this score is not, in a sentence."""
    primary: bool
    arms: tuple[ArmStats, ...]
    contrasts: tuple[Contrast, ...]
    domains: tuple[Domains, ...]
    findings: tuple[Finding, ...]
    variance: Mapping[str, VarianceSplit]
    """By model: baseline scores split between units and within them, where units have several
    answers."""
    families: tuple[Families, ...] = ()
    rankings: tuple[Ranked, ...] = ()
    scales: tuple[Scale, ...] = ()
    across: tuple[str, ...] = ()
    """Sentences on comparisons of models."""
    validity: tuple[Validity, ...] = ()

    def contrast(self, model: str, arm: str, reference: str) -> Contrast | None:
        """The contrast of two arms of a model, if it was made."""
        found = (
            c for c in self.contrasts if (c.model, c.arm, c.reference) == (model, arm, reference)
        )
        return next(found, None)

    def by_id(self, name: str) -> Contrast:
        """The contrast of this id (KeyError if there is none)."""
        return next(c for c in self.contrasts if c.id == name)


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What a study shows."""

    title: str
    headline: str
    """One sentence, on the primary scorer."""
    summary: tuple[str, ...]
    """The paragraph behind it, a sentence each: power, limits, what the score is not."""
    scorers: tuple[ScorerAnalysis, ...]
    """The primary one first."""
    stored: tuple[StoredScores, ...]
    warnings: tuple[str, ...]
    """Settings that differ, inputs that were incomplete: shown on top."""
    seed: int
    level: float
    exploratory: str | None = None
    """Why all of it is exploratory (a recipe changed after data were seen, R16)."""
    recipe: Mapping[str, Any] | None = None
    """Name, sha256 and text of the recipe of a matrix."""

    @property
    def primary(self) -> ScorerAnalysis:
        """The scorer that was declared as the primary one."""
        return self.scorers[0]

    def to_json(self) -> dict[str, Any]:
        """Everything, for effects.json; numbers rounded to ten significant digits, so that the
        same answers give the same bytes."""
        return {"schema_version": 2, **_plain(dataclasses.asdict(self))}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # a numpy array or number
        return _plain(value.tolist())
    return value
