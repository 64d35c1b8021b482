"""The grammar score as one of the scorers: what `lem` calls by name."""

from __future__ import annotations

from dataclasses import dataclass

from lem.scorers.base import Answer, Field, Scorer, Span
from lem.scorers.grammar.scores import delta, score
from lem.scorers.grammar.tables import PROFILES, require_profile
from lem.scorers.grammar.tokens import tokenise

VERSION = "grammar/1"
"""Name of the rules; it changes whenever any number of any text could change."""

LABEL = "grammar v3 surface-form richness"
"""What to call the composite in tables and on axes."""

OVERLAP_LABEL = "high overlap, low gain"
"""What to call the field `sycophantic` in tables; its published name claims too much."""

_SCORE = (
    "composite",
    "tense_entropy",
    "vocab_richness",
    "question_ratio",
    "domain_depth",
    "verb_diversity",
    "noun_diversity",
    "token_count",
    "profile",
)
_DELTA = ("input_composite", "uplift", "echo", "enrichment", "sycophantic")


@dataclass(frozen=True)
class GrammarScorer:
    """The grammar score in one profile.

    Attributes:
        name: as the user asks for it.
        profile: one of `PROFILES`.
    """

    name: str
    profile: str
    label: str = LABEL
    headline: str = "composite"

    @property
    def version(self) -> str:
        """Rules and profile: numbers of different profiles are never compared."""
        return f"{VERSION}:{self.profile}"

    def score(self, answer: Answer) -> dict[str, Field]:
        """Return the published fields, then the number of tokens and the profile."""
        found = score(answer.text, self.profile)
        return {name: getattr(found, name) for name in _SCORE}

    def delta(self, answer: Answer) -> dict[str, Field]:
        """Return what the answer adds to its prompt; all None where the prompt is not known."""
        if answer.prompt is None:
            return dict.fromkeys(_DELTA)
        found = delta(answer.prompt, answer.text, self.profile)
        return {name: getattr(found, name) for name in _DELTA}

    def evidence(self, answer: Answer) -> dict[str, list[Span]]:
        """Return the spans of verbs, nouns, articles and question marks, left to right.

        A word that may be verb or noun counts as both, so it is shown as both. Marks behind a
        word are not part of its span.
        """
        found: dict[str, list[Span]] = {"verbs": [], "nouns": [], "articles": [], "questions": []}
        for token in tokenise(answer.text, self.profile):
            if "verb" in (token.kind, token.alternative):
                found["verbs"].append(token.span)
            if "noun" in (token.kind, token.alternative):
                found["nouns"].append(token.span)
            if token.kind == "article":
                found["articles"].append(token.span)
            if token.label == "question":
                found["questions"].append(token.span)
        return found


def scorer(name: str = "grammar", profile: str | None = None) -> Scorer:
    """Return the grammar scorer of a profile; without one, of the recommended `head`.

    Raises:
        LemError: there is no such profile.
    """
    chosen = profile or PROFILES[0]
    require_profile(chosen)
    return GrammarScorer(name, chosen)
