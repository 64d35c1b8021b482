"""Scores of a text, of an answer against its prompt, and of a set of answers.

Source of every formula, weight and threshold: go-i18n, package reversal, and LEM's scorer on top
of it (the thresholds of `delta` are those of LEM's `ai.yaml`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import log2
from statistics import fmean

from lem.errors import LemError
from lem.scorers.grammar.counting import imprint
from lem.scorers.grammar.imprints import Imprint, similarity
from lem.scorers.grammar.tables import one_profile
from lem.scorers.grammar.tokens import split

ECHO_LIMIT = 0.6
UPLIFT_LIMIT = 5.0

#: An answer is asked for its score, then for its delta, and the prompt comes back with the next
#: answer; so the last few imprints are kept. Nothing made here is ever changed.
recent_imprint = lru_cache(maxsize=4)(imprint)


@dataclass(frozen=True, slots=True)
class GrammarScore:
    """The grammar score of one text.

    Attributes:
        profile: one of `PROFILES`; scores of different profiles are never compared.
        composite: the score, 0 to 100 (99.9994 is the most that can be reached).
        tense_entropy: entropy of base, past and gerund among the verbs, in bits, 0 to 1.585.
        vocab_richness: different verbs and nouns per token.
        question_ratio: question marks among all punctuation marks, 0 to 1.
        domain_depth: number of domain words; not part of the composite.
        verb_diversity, noun_diversity: numbers of different verbs and nouns.
        token_count: words, phrases and punctuation marks.
    """

    profile: str
    composite: float
    tense_entropy: float
    vocab_richness: float
    question_ratio: float
    domain_depth: int
    verb_diversity: int
    noun_diversity: int
    token_count: int


@dataclass(frozen=True, slots=True)
class GrammarDelta:
    """What an answer adds to its prompt.

    Attributes:
        profile: one of `PROFILES`; deltas of different profiles are never compared.
        input_composite, output_composite: composites of prompt and answer.
        uplift: the second minus the first. Answers are longer than prompts, and the composite
            rises with length, so this is mostly a difference in length.
        echo: similarity of the two imprints, 0 to 1.
        enrichment: uplift times (1 - echo). Echo makes a negative uplift look better.
        sycophantic: the published name of high overlap and low gain. It says nothing about
            agreement or flattery; short correct answers have it as well.
    """

    profile: str
    input_composite: float
    output_composite: float
    uplift: float
    echo: float
    enrichment: float
    sycophantic: bool


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """One answer as `summarise` takes it.

    Attributes:
        score: of the answer.
        delta: of the answer against its prompt.
        words: pieces between white space in the answer; 0 for an empty one.
    """

    score: GrammarScore
    delta: GrammarDelta
    words: int


@dataclass(frozen=True, slots=True)
class GrammarSummary:
    """A set of answers as on the published model cards, and what has to be read with it.

    Attributes:
        profile: one of `PROFILES`.
        n: number of answers.
        grammar: mean composite of the answers.
        noun_diversity, verb_diversity, uplift, echo, enrichment: means.
        positive_uplift: number of answers with an uplift above 0; `positive_share` of `n`.
        sycophancy_share: share of answers with high overlap and low gain.
        leakage_share: share of answers that quote the kernel, as given by the caller; None where
            it was not measured.
        mean_words: words per answer. The composite rises with the length of a text up to about
            700 words, so it means little without this.
        empty_share: share of answers without a single word; each scores 0.
    """

    profile: str
    n: int
    grammar: float
    noun_diversity: float
    verb_diversity: float
    uplift: float
    echo: float
    enrichment: float
    positive_uplift: int
    positive_share: float
    sycophancy_share: float
    leakage_share: float | None
    mean_words: float
    empty_share: float


def score(text: str, profile: str = "head") -> GrammarScore:
    """Score one text.

    Args:
        text: any text; nothing is normalised. An empty one scores 0.
        profile: one of `PROFILES`.

    Raises:
        LemError: there is no such profile.
    """
    return score_imprint(recent_imprint(text, profile))


def score_imprint(made: Imprint) -> GrammarScore:
    """Score a text by its imprint."""
    tokens = made.token_count
    richness = (made.unique_verbs + made.unique_nouns) / tokens if tokens else 0.0
    entropy = (
        -sum([p * log2(p) for p in made.tense_distribution.values() if p > 0]) + 0.0
    )  # never -0.0
    questions = made.punctuation_pattern.get("question", 0.0)
    composite = 100.0 * (
        0.25 * entropy / 1.585
        + 0.25 * min(10 * richness, 1.0)
        + 0.20 * min(5 * questions, 1.0)
        + 0.15 * min(made.unique_verbs / 30, 1.0)
        + 0.15 * min(made.unique_nouns / 40, 1.0)
    )
    return GrammarScore(
        profile=made.profile,
        composite=composite,
        tense_entropy=entropy,
        vocab_richness=richness,
        question_ratio=questions,
        domain_depth=sum(made.domain_vocabulary.values()),
        verb_diversity=made.unique_verbs,
        noun_diversity=made.unique_nouns,
        token_count=tokens,
    )


def delta(
    prompt: str,
    response: str,
    profile: str = "head",
    echo_limit: float = ECHO_LIMIT,
    uplift_limit: float = UPLIFT_LIMIT,
) -> GrammarDelta:
    """Compare an answer with its prompt.

    Args:
        prompt: the question.
        response: the answer.
        profile: one of `PROFILES`.
        echo_limit: overlap is high above this echo.
        uplift_limit: gain is low below this uplift.

    Raises:
        LemError: there is no such profile.
    """
    asked, answered = recent_imprint(prompt, profile), recent_imprint(response, profile)
    return delta_imprints(asked, answered, echo_limit, uplift_limit)


def delta_imprints(
    asked: Imprint,
    answered: Imprint,
    echo_limit: float = ECHO_LIMIT,
    uplift_limit: float = UPLIFT_LIMIT,
) -> GrammarDelta:
    """Compare the imprint of an answer with that of its prompt, as `delta` does.

    Raises:
        LemError: the imprints were made with different profiles.
    """
    profile = one_profile((asked.profile, answered.profile), "The uplift")
    echo = similarity(asked, answered)
    before, after = score_imprint(asked).composite, score_imprint(answered).composite
    uplift = after - before
    return GrammarDelta(
        profile=profile,
        input_composite=before,
        output_composite=after,
        uplift=uplift,
        echo=echo,
        enrichment=uplift * (1.0 - echo),
        sycophantic=echo > echo_limit and uplift < uplift_limit,
    )


def score_pair(
    prompt: str,
    response: str,
    profile: str = "head",
    echo_limit: float = ECHO_LIMIT,
    uplift_limit: float = UPLIFT_LIMIT,
) -> ScoredPair:
    """Return everything `summarise` needs to know of one answer; arguments as for `delta`.

    Raises:
        LemError: there is no such profile.
    """
    asked, answered = recent_imprint(prompt, profile), recent_imprint(response, profile)
    return ScoredPair(
        score=score_imprint(answered),
        delta=delta_imprints(asked, answered, echo_limit, uplift_limit),
        words=len(split(response)),
    )


def summarise(pairs: Iterable[ScoredPair], leakage_share: float | None = None) -> GrammarSummary:
    """Summarise a set of answers: plain means, every answer weighing the same.

    Args:
        pairs: the answers, all scored with one profile; see `score_pair`.
        leakage_share: share of these answers that quote the kernel, 0 to 1, if it is known. It
            takes the kernels to find out, so that is left to the caller.

    Raises:
        LemError: there are no answers, or they were scored with different profiles.
    """
    pairs = list(pairs)
    if not pairs:
        raise LemError(
            "There are no answers to summarise.",
            "No grammar summary was made: a mean of nothing is not 0.",
            "Give at least one scored answer.",
        )
    profiles = [part.profile for pair in pairs for part in (pair.score, pair.delta)]
    profile = one_profile(profiles, "The summary")
    n = len(pairs)
    positive = sum(pair.delta.uplift > 0 for pair in pairs)
    return GrammarSummary(
        profile=profile,
        n=n,
        grammar=fmean(pair.score.composite for pair in pairs),
        noun_diversity=fmean(pair.score.noun_diversity for pair in pairs),
        verb_diversity=fmean(pair.score.verb_diversity for pair in pairs),
        uplift=fmean(pair.delta.uplift for pair in pairs),
        echo=fmean(pair.delta.echo for pair in pairs),
        enrichment=fmean(pair.delta.enrichment for pair in pairs),
        positive_uplift=positive,
        positive_share=positive / n,
        sycophancy_share=sum(pair.delta.sycophantic for pair in pairs) / n,
        leakage_share=leakage_share,
        mean_words=fmean(pair.words for pair in pairs),
        empty_share=sum(pair.words == 0 for pair in pairs) / n,
    )
