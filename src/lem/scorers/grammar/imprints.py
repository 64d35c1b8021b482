"""The grammar imprint of a text: how often which forms occur, and how alike two imprints are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

from lem.scorers.grammar.tables import one_profile
from lem.scorers.grammar.tokens import Token

Shares = Mapping[str, float]
"""Part -> share of it; the shares add up to 1 unless there are none."""


@dataclass(frozen=True, slots=True)
class Imprint:
    """What the scores of one text, or of several averaged, are made from.

    Attributes:
        profile: one of `PROFILES`; imprints of different profiles are never compared.
        token_count: words, phrases and punctuation marks.
        unique_verbs, unique_nouns: different bases; an ambiguous word is in both.
        plural_ratio: plurals among all noun tokens, 0 to 1.
        verb_distribution, noun_distribution: base -> share.
        tense_distribution: `base`, `past`, `gerund` -> share.
        article_usage: `definite`, `indefinite` -> share.
        punctuation_pattern: kind of mark -> share of all marks.
        domain_vocabulary: key of a domain word -> number of times.
    """

    profile: str
    token_count: int
    unique_verbs: int
    unique_nouns: int
    plural_ratio: float
    verb_distribution: Shares
    tense_distribution: Shares
    noun_distribution: Shares
    article_usage: Shares
    punctuation_pattern: Shares
    domain_vocabulary: Mapping[str, int]


#: What two imprints are compared in: weight, name for keys, distribution.
#: Source: go-i18n, package reversal, revision 3836295.
PARTS: tuple[tuple[float, str, Callable[[Imprint], Shares]], ...] = (
    (0.30, "verb", lambda imprint: imprint.verb_distribution),
    (0.20, "tense", lambda imprint: imprint.tense_distribution),
    (0.25, "noun", lambda imprint: imprint.noun_distribution),
    (0.15, "article", lambda imprint: imprint.article_usage),
    (0.10, "punct", lambda imprint: imprint.punctuation_pattern),
)


class Tally:
    """Sums from which an imprint is made. The distributions are not shares yet."""

    __slots__ = (
        "articles",
        "domain",
        "marks",
        "nouns",
        "plurals",
        "tenses",
        "total_nouns",
        "verbs",
    )

    def __init__(self) -> None:
        self.verbs: dict[str, float] = {}
        self.tenses: dict[str, float] = {}
        self.nouns: dict[str, float] = {}
        self.articles: dict[str, float] = {}
        self.marks: dict[str, float] = {}
        self.domain: dict[str, int] = {}
        self.total_nouns = 0
        self.plurals = 0

    def add_ambiguous(self, base: str, verb: float, noun: float) -> None:
        """Count a word that may be verb or noun, with the confidence of both readings.

        Both bases count even where a confidence is 0.
        """
        self.verbs[base] = self.verbs.get(base, 0) + verb
        self.tenses["base"] = self.tenses.get("base", 0) + verb
        self.nouns[base] = self.nouns.get(base, 0) + noun
        self.total_nouns += 1

    def imprint(self, profile: str, tokens: int) -> Imprint:
        """Return the imprint of a text of so many tokens."""
        return Imprint(
            profile=profile,
            token_count=tokens,
            unique_verbs=len(self.verbs),
            unique_nouns=len(self.nouns),
            plural_ratio=self.plurals / self.total_nouns if self.total_nouns else 0.0,
            verb_distribution=shares(self.verbs),
            tense_distribution=shares(self.tenses),
            noun_distribution=shares(self.nouns),
            article_usage=shares(self.articles),
            punctuation_pattern=shares(self.marks),
            domain_vocabulary=self.domain,
        )


def shares(amounts: dict[str, float]) -> dict[str, float]:
    """Divide amounts by their sum; a sum of 0 leaves them as they are."""
    total = sum(amounts.values())
    if not total:
        return amounts
    return {part: amount / total for part, amount in amounts.items()}


def imprint_tokens(tokens: Iterable[Token], profile: str) -> Imprint:
    """Return the imprint of tokens made with a profile, counting one token after the other."""
    tally = Tally()
    count = 0
    for token in tokens:
        count += 1
        if token.alternative:
            alternative, confidence = token.alternative_confidence, token.confidence
            is_verb = token.kind == "verb"
            tally.add_ambiguous(
                token.base,
                verb=confidence if is_verb else alternative,
                noun=alternative if is_verb else confidence,
            )
        elif token.kind == "verb":
            tally.verbs[token.base] = tally.verbs.get(token.base, 0) + token.confidence
            tally.tenses[token.tense] = tally.tenses.get(token.tense, 0) + token.confidence
        elif token.kind == "noun":
            tally.nouns[token.base] = tally.nouns.get(token.base, 0) + token.confidence
            tally.total_nouns += 1
            tally.plurals += token.plural
        elif token.kind == "article":
            tally.articles[token.label] = tally.articles.get(token.label, 0) + 1
        elif token.kind == "punctuation":
            tally.marks[token.label] = tally.marks.get(token.label, 0) + 1
        elif token.kind == "word":
            tally.domain[token.label] = tally.domain.get(token.label, 0) + 1
    return tally.imprint(profile, count)


def similarity(a: Imprint, b: Imprint) -> float:
    """Return how alike two imprints are ("echo"), 0 to 1.

    A weighted mean of the cosines of the five distributions. One that is empty in both does not
    count; one that is empty in either counts as 0. Two texts without any known form are alike.

    Raises:
        LemError: the imprints were made with different profiles.
    """
    one_profile((a.profile, b.profile), "The similarity")
    if not a.token_count and not b.token_count:
        return 1.0
    total = weights = 0.0
    for weight, _, part in PARTS:
        p, q = part(a), part(b)
        if p or q:
            weights += weight
            if p and q:
                total += weight * _cosine(p, q)
    return total / weights if weights else 1.0


def _cosine(p: Shares, q: Shares) -> float:
    """Return the cosine of two distributions over all their parts; 0 if either has no length."""
    if len(p) > len(q):
        p, q = q, p
    dot = sum([share * q[part] for part, share in p.items() if part in q])
    if not dot:
        return 0.0
    return dot / sqrt(sum([x * x for x in p.values()]) * sum([x * x for x in q.values()]))
