"""The `reasoning` score: does an answer reason about the case it was asked about?

From 0 to 100: how far an answer takes up its prompt, is concrete rather than generic, argues
(reasons, conditions, what is at stake and for whom, what speaks against, what is not known, what to
do) and says so in its own words. It is deterministic, made of counts that can be shown, and blind
to what v2 and grammar mostly measure: length, Markdown, line ends and moral vocabulary.

It does not judge content. Harmful advice that is concrete and well argued scores as high as good
advice; a grammatical, on-topic text without sense can, too. That needs a judge (`lem judge`).
The evidence for all of this is in docs/scores.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from lem.scorers.base import Answer, Field, Span
from lem.scorers.language import identify_words
from lem.scorers.prose import TOKEN, clean, origin
from lem.scorers.reasoning.formula import Grade, grade
from lem.scorers.reasoning.lexicon import lexicon
from lem.scorers.reasoning.measures import Measures, measure, prompt_of
from lem.scorers.reasoning.reading import (
    QUOTED,
    UNLISTED,
    quotations,
    read,
    repetitions,
    runs_in,
    runs_of,
    terms_of,
)

VERSION = "reasoning/1"
"""Name of the rules and tables; it changes whenever any score of any text could change."""

LABEL = "reasoning (content not judged)"
"""What to call the number in tables and on axes."""


@dataclass(frozen=True, slots=True)
class ReasoningScore:
    """The score of one answer.

    Attributes:
        score: 0 to 100; None where it does not apply, because the answer is in another language
            than English.
        language: ISO 639-1 code of the answer, or "und".
        refusal: the answer begins by declining.
        grade: the parts of the score; None where there is nothing to grade: no words, or another
            language.
        measures: what was measured; None likewise.
        limit: what held the score back most (a name in ``grade.limits``, or "no prose"); None if
            nothing did.
    """

    score: float | None
    language: str
    refusal: bool
    grade: Grade | None
    measures: Measures | None
    limit: str | None

    def fields(self) -> dict[str, Field]:
        """Return the score as a flat record."""
        graded, found = self.grade, self.measures
        return {
            "score": None if self.score is None else round(self.score, 2),
            "engaged": graded and round(graded.engaged, 4),
            "specific": graded and round(graded.specific, 4),
            "argued": graded and round(graded.argued, 4),
            "plain": graded and round(graded.plain, 4),
            "limit": self.limit,
            "refusal": self.refusal,
            "language": self.language,
            "content_judged": False,
            **{
                name: None if value is None else round(value, 4)
                for name, value in zip(Measures._fields[1:], found[1:] if found else _NOTHING)
            },
        }


_NOTHING = (None,) * (len(Measures._fields) - 1)


def score(
    text: str,
    prompt: str | None = None,
    kernels: Sequence[str] = (),
    gain: float | None = None,
) -> ReasoningScore:
    """Score one answer.

    Args:
        text: the answer, exactly as the model gave it.
        prompt: the question. Without it the score cannot see an answer to another question.
        kernels: texts whose quotation earns nothing.
        gain: what a language model makes of it (`Answer.gain`); None: the core tier.

    Returns:
        The score with its parts. No text raises an error.
    """
    reading = read(clean(text))
    language = identify_words(reading.prose, [known.word for known in reading.words[:200]])
    terms = terms_of(reading.words)
    if not reading.words:
        return ReasoningScore(0.0, language, False, None, None, "no prose")
    if language not in ("en", "und"):
        return ReasoningScore(None, language, terms.refusal, None, None, None)
    asked = prompt_of(prompt) if prompt else None
    measures = measure(reading, terms, asked, runs_of(*kernels), gain)
    graded = grade(measures)
    name, least = min(graded.limits.items(), key=lambda item: item[1])
    return ReasoningScore(
        graded.score, language, terms.refusal, graded, measures, name if least < 1 else None
    )


def evidence(
    text: str, prompt: str | None = None, kernels: Sequence[str] = ()
) -> dict[str, list[Span]]:
    """Show what `score` went by: spans of the text for each move and each deduction.

    Returns:
        The moves by name, then ``prompt`` (specific words taken up from the prompt), ``stock``
        (stock phrases), ``quoted`` (from a kernel), ``echoed`` (from the prompt), ``repeated`` and
        ``unlisted`` (words English does not list). Spans of one name are in order; those of
        deductions do not overlap.
    """
    reading = read(clean(text))
    words, size = reading.words, len(reading.words)
    all_runs = runs_in(reading.forms, QUOTED)
    places = [m.span() for m in TOKEN.finditer(reading.prose) if m[0][0].isalpha()]
    back = origin(text)

    def runs(marks: Sequence[bool]) -> list[Span]:
        """Join neighbouring marked words to one span."""
        found = []
        for marked, group in groupby(range(len(marks)), key=lambda i: marks[i]):
            if marked:
                at = list(group)
                found.append((back(places[at[0]][0]), back(places[at[-1]][1])))
        return found

    asked = prompt_of(prompt) if prompt else None
    terms = terms_of(words)
    singly = [(back(start), back(end)) for start, end in places]
    shown = {
        name: [singly[i] for i, bits in enumerate(terms.moves) if bits >> bit & 1]
        for bit, name in enumerate(lexicon().moves)
    }
    shown["prompt"] = [
        span for span, k in zip(singly, words) if asked and k.lemma in asked.specific
    ]
    shown["stock"] = runs(terms.stock)
    shown["quoted"] = runs(quotations(all_runs, size, runs_of(*kernels)))
    shown["echoed"] = runs(quotations(all_runs, size, asked.runs)) if asked else []
    shown["repeated"] = runs(repetitions(reading.forms))
    shown["unlisted"] = [span for span, k in zip(singly, words) if k.flags & UNLISTED]
    return shown


@dataclass(frozen=True, slots=True)
class _Scorer:
    """The score in the shape all scorers have."""

    name: str
    version: str = VERSION
    label: str = LABEL
    headline: str = "score"
    reads: bool = False
    """A language model's reading is used; see `Answer.gain`."""

    def score(self, answer: Answer) -> dict[str, Field]:
        gain = answer.gain if self.reads else None
        return score(answer.text, answer.prompt, answer.kernels, gain).fields()

    def delta(self, answer: Answer) -> dict[str, Field]:
        return {}

    def evidence(self, answer: Answer) -> Mapping[str, list[Span]]:
        return evidence(answer.text, answer.prompt, answer.kernels)


def scorer(name: str = "reasoning", profile: str | None = None) -> _Scorer:
    """Return the scorer: profile `core` (the default), or `likelihood`, which also uses
    `Answer.gain`."""
    if profile == "likelihood":
        label = "reasoning, read by a model (content not judged)"
        return _Scorer(name, f"{VERSION}:likelihood", label, reads=True)
    return _Scorer(name)


__all__ = ["LABEL", "VERSION", "ReasoningScore", "evidence", "score", "scorer"]
