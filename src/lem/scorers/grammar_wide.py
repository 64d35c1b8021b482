"""The grammar-wide score: the grammar imprint of a text, on a broad vocabulary.

What the grammar v3 score set out to count, counted on real word classes: words are looked up in a
lexicon of English, a few rules of context decide between noun and verb (`wordclasses`), richness
is measured in windows of one size, and layout is taken away first. The imprint, the echo, the
names of the fields and the weights of the five terms are v3's. The numbers are not comparable.

What it does not measure: whether a sentence is grammatical, what it means, whether it is true or
good. Word order enters only through the neighbours that a rule looks at, so a shuffled answer
scores much the same, and a list of different real words beats any honest answer. Never train on
it, never filter by it alone. Invented words add nothing, though, and saying a finished text again
or dressing it up in Markdown does not raise it.

The composite, 0 to 100, is the sum of

    25  tense_entropy / log2(3)         1: base, past and gerund forms evenly mixed
    25  vocab_richness                  1: no word twice in 50
    20  2 * question_ratio, at most 1   1: every other sentence is a question
    15  verb_diversity / 10, at most 1
    15  noun_diversity / 15, at most 1

The weights are v3's, the scales are new. Ten verbs and 15 nouns are a little more than the richest
of the long answers in benchmarks/data has (means 6.4 and 9.3), so that no term is at its limit;
v3's vocabulary term is, for 72 of 100 answers. A question term that is full at one question in
five, as v3's, grows with length, because a short text cannot have a fifth of a question.

Length. Richness is the moving-average type-token ratio (Covington & McFall 2010, Journal of
Quantitative Linguistics 17:94) in windows of 50 words, and tense entropy a mean over windows of 10
verbs, each estimated as in Chao, Wang & Jost (2013, Methods in Ecology and Evolution 4:1091,
without the term for unseen classes). The text is read as a ring, its first word behind its last,
so that every word is in equally many windows and a repeated text has the windows it had before. A
text shorter than a window is carried forward to 50 words by the growth of real prose,
`distinct * (50 / words) ** b`, and marked `extrapolated`. With fewer than 20 different words, which
25 words of prose have, that would be guessing, and the composite is multiplied by their number
/ 20: there it does rise with length.

Unknown words take their places in the windows and add nothing. `unknown_share` tells how many
there are, in real answers 0 to 12 %. Above 40 % a text is no English prose: if it is in another
language the score does not apply and its numbers are None; if it is in none, the composite is
multiplied by the share of known words / 60 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from math import log, log2

from lem.scorers.base import Answer, Field, Scorer, Span
from lem.scorers.grammar.imprints import Imprint, shares, similarity
from lem.scorers.language import UNDETERMINED, identify_words, sample
from lem.scorers.prose import clean, origin, plain, words
from lem.scorers.wordclasses import forms, senses, spans

VERSION = "grammar-wide/1"
"""Name of the rules; it changes whenever any number of any text could change."""

LABEL = "surface grammar, broad vocabulary"
"""What to call the composite in tables and on axes."""

PROFILE = "wide"
"""Profile of these imprints; they refuse to be compared with those of the v3 score."""

WINDOW = 50
"""Words in a window of the text."""
TENSE_WINDOW = 10
"""Verbs in a window of the tenses. 50 words of prose have 8 or 9."""
FEWEST_WORDS = 20
"""Different words below which a text is too short to be carried forward."""
UNKNOWN_LIMIT = 0.4
"""Share of unknown words above which a text is no English prose, as in `lem.scorers.language`."""
LONGEST_SENTENCE = 40
"""A text has at least one sentence in so many words: one without full stops is not one sentence."""

OVERLAP_LIMIT = 0.75
"""Overlap with the prompt is high above this echo, which 2 of 160 real answers and all 3 parroting
ones in benchmarks/data exceed. v3's limit of 0.6 would be exceeded by 41 % of the real ones."""
GAIN_LIMIT = 5.0
"""Gain is low below this uplift; as in v3."""

# How the number of different words grows with the length of a text, as the exponent b. Measured
# between 10 and 50 words in 36 answers: 0.94 to 0.98 for verbs and nouns, 0.88 to 0.90 for all.
_GROWTH_OF_CLASS, _GROWTH_OF_ALL = 0.95, 0.89

_MOST_ENTROPY = log2(3)


@dataclass(frozen=True, slots=True)
class WideScore:
    """The score of one text. Where it does not apply, all but the last three are None.

    Attributes:
        composite: 0 to 100.
        tense_entropy: of base, past and gerund among the verbs, in bits, 0 to 1.585. Be, have and
            do count; modals have no tense.
        vocab_richness: different words per word (0 to 1) in 50 words; inflections are one word.
        question_ratio: questions per sentence, 0 to 1; a question counts once, however often it
            is asked. Words behind the last full stop are no sentence yet.
        verb_diversity, noun_diversity: different verbs (other than be, have, do) and nouns in 50
            words.
        token_count: words, numbers and punctuation marks, quotation marks left out.
        unknown_share: share of the words that English does not list, 0 to 1.
        extrapolated: the text is shorter than a window; its score is less certain.
    """

    composite: float | None = None
    tense_entropy: float | None = None
    vocab_richness: float | None = None
    question_ratio: float | None = None
    verb_diversity: float | None = None
    noun_diversity: float | None = None
    token_count: int = 0
    unknown_share: float = 0.0
    extrapolated: bool = True


@dataclass(frozen=True, slots=True)
class WideDelta:
    """What an answer adds to its prompt; all None where the score does not apply to both.

    Attributes:
        input_composite: composite of the prompt.
        uplift: composite of the answer minus that of the prompt.
        echo: similarity of the two imprints, 0 to 1.
        enrichment: uplift times (1 - echo).
        sycophantic: the published name of high overlap and low gain; see `OVERLAP_LIMIT`. It says
            nothing about agreement or flattery.
    """

    input_composite: float | None = None
    uplift: float | None = None
    echo: float | None = None
    enrichment: float | None = None
    sycophantic: bool | None = None


@dataclass(slots=True)
class _Reading:
    """What is found in a text. Places are counted in words."""

    plain_text: str
    tokens: int
    lemmas: list[str] = field(default_factory=list)  # of all words; empty: unknown
    verbs: list[tuple[int, str]] = field(default_factory=list)  # place and lemma
    nouns: list[tuple[int, str]] = field(default_factory=list)
    plurals: int = 0
    tenses: list[str] = field(default_factory=list)
    articles: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    sentences: int = 0
    questions: set[tuple[str, ...]] = field(default_factory=set)


def score(text: str) -> WideScore:
    """Score one text, exactly as the model gave it. A text without words scores 0."""
    return _score(_read(text))


def delta(prompt: str, response: str) -> WideDelta:
    """Compare an answer with its prompt."""
    asked, answered = _read(prompt), _read(response)
    before, after = _score(asked).composite, _score(answered).composite
    if before is None or after is None:
        return WideDelta()
    uplift = after - before
    echo = similarity(_imprint(asked), _imprint(answered))
    little = echo > OVERLAP_LIMIT and uplift < GAIN_LIMIT
    return WideDelta(before, uplift, echo, uplift * (1.0 - echo), little)


def imprint(text: str) -> Imprint:
    """Return the imprint of a text, in the layout of the grammar v3 score.

    Counts are of the whole text, not of windows, and there is no domain vocabulary.
    """
    return _imprint(_read(text))


def evidence(text: str) -> dict[str, list[Span]]:
    """Return the spans of verbs (with be, have and do), nouns, articles, questions and unknown
    words, left to right. The span of a question is its sentence."""
    cleaned = clean(text)
    plain_text = plain(cleaned)
    found: dict[str, list[Span]] = {
        name: [] for name in ("verbs", "nouns", "articles", "questions", "unknown")
    }
    tokens = forms(plain_text)
    first: int | None = None
    for form, sense, (start, end) in zip(tokens, senses(tokens), spans(plain_text)):
        if form.word:
            first = start if first is None else first
            if sense == "noun":
                found["nouns"].append((start, end))
            elif sense == "verb" or (form.tense and not form.verb):
                found["verbs"].append((start, end))
            if form.article:
                found["articles"].append((start, end))
            if not form.lemma:
                found["unknown"].append((start, end))
        elif form.mark in _ENDS:
            if form.mark == "question" and first is not None:
                found["questions"].append((first, end))
            first = None
    back = origin(text)
    return {name: [(back(a), back(b)) for a, b in places] for name, places in found.items()}


# --- reading -------------------------------------------------------------------------------------

_ENDS = frozenset({"question", "exclamation", "sentence_end"})


def _read(text: str) -> _Reading:
    plain_text = plain(clean(text))
    tokens = forms(plain_text)
    reading = _Reading(plain_text, len(tokens))
    lemmas = reading.lemmas
    begin = 0
    for form, sense in zip(tokens, senses(tokens)):
        if form.word:
            if sense == "noun":
                reading.nouns.append((len(lemmas), form.noun))
                reading.plurals += form.plural
            elif sense == "verb":
                reading.verbs.append((len(lemmas), form.verb))
                reading.tenses.append(form.tense)
            elif form.article:
                reading.articles.append(form.article)
            elif form.tense and not form.verb:
                reading.tenses.append(form.tense)
            lemmas.append(form.lemma)
        elif form.mark:
            reading.marks.append(form.mark)
            if form.mark in _ENDS and len(lemmas) > begin:
                reading.sentences += 1
                if form.mark == "question":
                    reading.questions.add(tuple(lemmas[begin:]))
                begin = len(lemmas)
    return reading


def _imprint(reading: _Reading) -> Imprint:
    verbs = _shares(lemma for _, lemma in reading.verbs)
    nouns = _shares(lemma for _, lemma in reading.nouns)
    return Imprint(
        profile=PROFILE,
        token_count=reading.tokens,
        unique_verbs=len(verbs),
        unique_nouns=len(nouns),
        plural_ratio=reading.plurals / len(reading.nouns) if reading.nouns else 0.0,
        verb_distribution=verbs,
        tense_distribution=_shares(reading.tenses),
        noun_distribution=nouns,
        article_usage=_shares(reading.articles),
        punctuation_pattern=_shares(reading.marks),
        domain_vocabulary={},
    )


def _shares(names: Iterable[str]) -> dict[str, float]:
    return shares({name: float(count) for name, count in Counter(names).items()})


# --- scoring -------------------------------------------------------------------------------------


def _score(reading: _Reading) -> WideScore:
    size = len(reading.lemmas)
    known = [(place, lemma) for place, lemma in enumerate(reading.lemmas) if lemma]
    unknown = 1 - len(known) / size if size else 0.0
    made = WideScore(
        token_count=reading.tokens, unknown_share=round(unknown, 4), extrapolated=size < WINDOW
    )
    if unknown > UNKNOWN_LIMIT and _is_foreign(reading.plain_text):
        return made
    entropy = _tense_entropy(reading.tenses)
    richness = min(_distinct(known, size, _GROWTH_OF_ALL) / WINDOW, 1.0)
    questions = len(reading.questions) / max(reading.sentences, size / LONGEST_SENTENCE, 1)
    verbs = _distinct(reading.verbs, size, _GROWTH_OF_CLASS)
    nouns = _distinct(reading.nouns, size, _GROWTH_OF_CLASS)
    total = (
        25 * entropy / _MOST_ENTROPY
        + 25 * richness
        + 20 * min(2 * questions, 1.0)
        + 15 * min(verbs / 10, 1.0)
        + 15 * min(nouns / 15, 1.0)
    )
    different = len({lemma for _, lemma in known})
    total *= min(different / FEWEST_WORDS, 1.0) * min((1 - unknown) / (1 - UNKNOWN_LIMIT), 1.0)
    return replace(
        made,
        composite=total,
        tense_entropy=entropy,
        vocab_richness=richness,
        question_ratio=questions,
        verb_diversity=verbs,
        noun_diversity=nouns,
    )


def _is_foreign(plain_text: str) -> bool:
    """Tell whether a text is in a language other than English."""
    language = identify_words(plain_text, sample(words(plain_text)))
    return language not in ("en", UNDETERMINED)


def _distinct(found: Sequence[tuple[int, str]], size: int, growth: float) -> float:
    """Return the mean number of different items in a window of the text read as a ring.

    An item is new to the windows that begin behind its previous occurrence, so that each place
    contributes its distance from there, or a whole window where that is further back.

    Args:
        found: place (in words) and name of each item, in order.
        size: words of the text.
        growth: exponent by which a text shorter than a window is carried forward.
    """
    if size <= WINDOW:
        return len({name for _, name in found}) * (WINDOW / size) ** growth if size else 0.0
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    total = 0
    for place, name in found:
        if name in last:
            distance = place - last[name]
            total += distance if distance < WINDOW else WINDOW
        else:
            first[name] = place
        last[name] = place
    for name, place in first.items():
        total += min(place + size - last[name], WINDOW)
    return total / size


def _tense_entropy(tenses: list[str]) -> float:
    """Return the mean entropy in bits of the tenses in a window of verbs read as a ring."""
    size = min(len(tenses), TENSE_WINDOW)
    part = _entropy_parts(size)
    counts = {"base": 0, "past": 0, "gerund": 0, **Counter(tenses[:size])}
    total = 0.0
    for entering, leaving in zip([*tenses[size:], *tenses[:size]], tenses):
        total += min(
            part[counts["base"]] + part[counts["past"]] + part[counts["gerund"]], _MOST_ENTROPY
        )
        counts[entering] += 1
        counts[leaving] -= 1
    return total / len(tenses) if tenses else 0.0


@cache
def _entropy_parts(size: int) -> list[float]:
    """Return what a class that occurs 0, 1, ... times among so many adds to the entropy, in bits:
    n / size * (1/n + 1/(n+1) + ... + 1/(size-1)). Source: Chao, Wang & Jost 2013."""
    tails = [sum(1 / j for j in range(n, size)) for n in range(1, size + 1)]
    return [0.0, *(n / size * tail / log(2) for n, tail in enumerate(tails, 1))]


# --- the scorer ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class WideScorer:
    """The score as one of the scorers."""

    name: str
    version: str = VERSION
    label: str = LABEL
    headline: str = "composite"

    def score(self, answer: Answer) -> dict[str, Field]:
        """Return the fields of `WideScore`."""
        return asdict(score(answer.text))

    def delta(self, answer: Answer) -> dict[str, Field]:
        """Return the fields of `WideDelta`; all None where the prompt is not known."""
        if answer.prompt is None:
            return asdict(WideDelta())
        return asdict(delta(answer.prompt, answer.text))

    def evidence(self, answer: Answer) -> dict[str, list[Span]]:
        """Return the spans behind each part of the score."""
        return evidence(answer.text)


def scorer(name: str = "grammar-wide", profile: str | None = None) -> Scorer:
    """Return the scorer; it has no profiles, so `profile` changes nothing."""
    return WideScorer(name)
