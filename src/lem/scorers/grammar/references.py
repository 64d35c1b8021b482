"""Reference sets: the typical imprint of each kind of text, and how far a text is from it.

Source of the formulas: go-i18n, package reversal, revision 3836295.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log, sqrt

from lem.errors import LemError
from lem.scorers.grammar.imprints import PARTS, Imprint, Shares, shares, similarity
from lem.scorers.grammar.tables import one_profile

_EPSILON = 1e-10  # stands for a share of 0 in a logarithm, and for no variance

Labelled = tuple[str, Imprint]
"""The label of a text and its imprint."""


@dataclass(frozen=True, slots=True)
class Centroid:
    """The typical imprint of the texts of one label.

    Attributes:
        imprint: mean of their imprints; domain words are added up, counts are rounded.
        sample_count: how many texts.
        variance: `verb:run`, `tense:past`, ... -> sample variance of the share; empty with fewer
            than two texts.
    """

    imprint: Imprint
    sample_count: int
    variance: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """Centroids by label, all of one profile."""

    profile: str
    centroids: Mapping[str, Centroid]


@dataclass(frozen=True, slots=True)
class Distances:
    """How far an imprint is from a centroid.

    Attributes:
        cosine: the similarity; 1 is nearest.
        kl: symmetric Kullback-Leibler divergence in nats, weighted over the distributions.
        mahalanobis: weighted distance in standard deviations, as if no two shares went together.
    """

    cosine: float
    kl: float
    mahalanobis: float


@dataclass(frozen=True, slots=True)
class Classification:
    """The nearest label.

    Attributes:
        label: that with the largest cosine; of equal ones the first by name.
        confidence: lead over the second best, 0 if there is no second.
        distances: label -> distances.
    """

    label: str
    confidence: float
    distances: Mapping[str, Distances]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A labelled text beside its classification; an anomaly is where the two labels differ."""

    given: str
    classified: str
    confidence: float
    anomaly: bool


@dataclass(frozen=True, slots=True)
class Anomalies:
    """Labelled texts that look like something else.

    Attributes:
        verdicts: one for each text with a label, in the order given.
        total, anomalies: numbers of texts; `rate` is the share, 0 if there are no texts.
        by_pair: `given->classified` -> number of texts, anomalies only.
    """

    verdicts: Sequence[Verdict]
    total: int
    anomalies: int
    rate: float
    by_pair: Mapping[str, int]


def build_references(samples: Iterable[Labelled]) -> ReferenceSet:
    """Return the centroid of each label.

    Args:
        samples: labelled imprints of one profile; those with an empty label are left out.

    Raises:
        LemError: no sample has a label, or the imprints were made with different profiles.
    """
    groups: dict[str, list[Imprint]] = {}
    for label, made in samples:
        if label:
            groups.setdefault(label, []).append(made)
    if not groups:
        raise LemError(
            "No sample has a label.",
            "No reference set was built.",
            "Give at least one text with a label.",
        )
    members = [made for group in groups.values() for made in group]
    profile = one_profile((made.profile for made in members), "The reference set")
    return ReferenceSet(profile, {label: _centroid(group) for label, group in groups.items()})


def distances(made: Imprint, centroid: Centroid) -> Distances:
    """Return how far an imprint is from a centroid.

    Raises:
        LemError: they were made with different profiles.
    """
    cosine = similarity(made, centroid.imprint)
    kl = squares = 0.0
    for weight, name, part in PARTS:
        p, q = part(made), part(centroid.imprint)
        for key in p.keys() | q.keys():
            a, b = p.get(key, 0.0), q.get(key, 0.0)
            # p ln(p/q) + q ln(q/p) in one
            kl += weight * 0.5 * (a - b) * log((a + _EPSILON) / (b + _EPSILON))
            variance = centroid.variance.get(f"{name}:{key}", 0.0)
            squares += weight * (a - b) ** 2 / (variance if variance > _EPSILON else 1.0)
    return Distances(cosine, kl, sqrt(squares))


def classify(made: Imprint, references: ReferenceSet) -> Classification:
    """Return the label an imprint is nearest to.

    Raises:
        LemError: the imprint and the reference set were made with different profiles.
    """
    found = {label: distances(made, c) for label, c in references.centroids.items()}
    best, *others = sorted(found, key=lambda label: (-found[label].cosine, label))
    lead = found[best].cosine - found[others[0]].cosine if others else 0.0
    return Classification(best, lead, found)


def find_anomalies(samples: Iterable[Labelled], references: ReferenceSet) -> Anomalies:
    """Classify labelled texts and return where that contradicts the label.

    Args:
        samples: labelled imprints; those with an empty label are left out.
        references: what to classify against.

    Raises:
        LemError: the imprints and the reference set were made with different profiles.
    """
    verdicts = []
    for given, made in samples:
        if given:
            found = classify(made, references)
            anomaly = found.label != given
            verdicts.append(Verdict(given, found.label, found.confidence, anomaly))
    by_pair = Counter(f"{v.given}->{v.classified}" for v in verdicts if v.anomaly)
    count = by_pair.total()
    rate = count / len(verdicts) if verdicts else 0.0
    return Anomalies(verdicts, len(verdicts), count, rate, dict(by_pair))


def _centroid(members: Sequence[Imprint]) -> Centroid:
    """Return the centroid of at least one imprint."""
    n = len(members)
    parts = {name: _mean([part(made) for made in members]) for _, name, part in PARTS}
    domain: Counter[str] = Counter()
    for made in members:
        domain.update(made.domain_vocabulary)
    centre = Imprint(
        profile=members[0].profile,
        token_count=_rounded(sum(made.token_count for made in members) / n),
        unique_verbs=_rounded(sum(made.unique_verbs for made in members) / n),
        unique_nouns=_rounded(sum(made.unique_nouns for made in members) / n),
        plural_ratio=sum(made.plural_ratio for made in members) / n,
        verb_distribution=parts["verb"],
        tense_distribution=parts["tense"],
        noun_distribution=parts["noun"],
        article_usage=parts["article"],
        punctuation_pattern=parts["punct"],
        domain_vocabulary=dict(domain),
    )
    return Centroid(centre, n, _variance(members, centre) if n > 1 else {})


def _mean(distributions: Iterable[Shares]) -> dict[str, float]:
    """Return the mean distribution; empty ones carry no weight."""
    total: dict[str, float] = {}
    for distribution in distributions:
        for key, share in distribution.items():
            total[key] = total.get(key, 0.0) + share
    return shares(total)


def _variance(members: Sequence[Imprint], centre: Imprint) -> dict[str, float]:
    """Return the variance of every share around the centre; absent is 0."""
    found: dict[str, float] = {}
    n = len(members)
    for _, name, part in PARTS:
        middle = part(centre)
        squares = dict.fromkeys(middle, 0.0)
        present = dict.fromkeys(middle, 0)
        for made in members:
            for key, share in part(made).items():
                squares[key] += (share - middle[key]) ** 2
                present[key] += 1
        for key, square in squares.items():
            absent = n - present[key]
            found[f"{name}:{key}"] = (square + absent * middle[key] ** 2) / (n - 1)
    return found


def _rounded(number: float) -> int:
    """Return the nearest whole number, halves away from zero (the number is not negative)."""
    return floor(number + 0.5)
