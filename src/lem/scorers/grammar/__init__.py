"""The grammar v3 score: a measure of surface-form richness.

It counts different words that are listed as verbs or nouns or end in -s, -ed or -ing, relative to
the length of the text up to a cap, adds the entropy over three verb forms, and a bonus for pieces
of text that end in a question mark. There is no dictionary and no parser behind it: `this` is a
plural, `thing` a gerund, most nouns are unknown. Shuffling all words of an answer moves it by 0.1
points; invented words with the right endings get 99 of 100; it rises with the length of a text up
to about 700 words. It is kept because published results are stated in it, and the tests hold it
to the original's numbers.

One formula, three states of the original engine: see `PROFILES`. Every number carries its profile,
and numbers of different profiles refuse to be compared.

Source: go-i18n, package reversal, at revisions 3836295 and 26b7dd4, as specified by observation.
"""

from lem.scorers.grammar.adapter import LABEL, OVERLAP_LABEL, VERSION, GrammarScorer, scorer
from lem.scorers.grammar.counting import imprint
from lem.scorers.grammar.imprints import Imprint, imprint_tokens, similarity
from lem.scorers.grammar.multiplier import multiply
from lem.scorers.grammar.references import (
    Anomalies,
    Centroid,
    Classification,
    Distances,
    ReferenceSet,
    Verdict,
    build_references,
    classify,
    distances,
    find_anomalies,
)
from lem.scorers.grammar.scores import (
    ECHO_LIMIT,
    UPLIFT_LIMIT,
    GrammarDelta,
    GrammarScore,
    GrammarSummary,
    ScoredPair,
    delta,
    delta_imprints,
    score,
    score_imprint,
    score_pair,
    summarise,
)
from lem.scorers.grammar.tables import PROFILES
from lem.scorers.grammar.tokens import Token, tokenise

__all__ = [
    "ECHO_LIMIT",
    "LABEL",
    "OVERLAP_LABEL",
    "PROFILES",
    "UPLIFT_LIMIT",
    "VERSION",
    "Anomalies",
    "Centroid",
    "Classification",
    "Distances",
    "GrammarDelta",
    "GrammarScore",
    "GrammarScorer",
    "GrammarSummary",
    "Imprint",
    "ReferenceSet",
    "ScoredPair",
    "Token",
    "Verdict",
    "build_references",
    "classify",
    "delta",
    "delta_imprints",
    "distances",
    "find_anomalies",
    "imprint",
    "imprint_tokens",
    "multiply",
    "score",
    "score_imprint",
    "score_pair",
    "scorer",
    "similarity",
    "summarise",
    "tokenise",
]
