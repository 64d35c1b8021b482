"""What is measured on one answer, each as a share or a rate that does not grow with length.

A short answer gives little to measure. Every share is therefore pulled towards its typical value
(the median of ordinary answers) with the weight of a stated number of words, so that a short answer
counts as ordinary until its words say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import NamedTuple

from lem.scorers.prose import clean
from lem.scorers.reasoning.lexicon import lexicon
from lem.scorers.reasoning.reading import (
    ABSTRACT,
    CAPITAL,
    CONTENT,
    FUNCTION,
    PERSON,
    QUOTED,
    SPECIFIC,
    UNLISTED,
    Reading,
    Runs,
    Terms,
    count,
    quotations,
    read,
    repetitions,
    runs_in,
    runs_of,
    stretches,
)


class Measures(NamedTuple):
    """The measures of one answer; shares are 0 to 1."""

    words: int
    vague: float
    """Share of the content words that are generic."""
    linked: float
    """How much of the text names what the prompt names, by stretch."""
    new: float
    """Share of the specific words that are not the prompt's."""
    argument: float
    """Different moves in 25 words, of those that earn something."""
    crowded: float
    """Different moves in 25 words beyond what prose has room for."""
    stock: float
    """Share of the words in stock phrases."""
    abstract: float
    """Share of the content words that are abstract nouns, beyond the usual."""
    function: float
    """Share of function words, up to the usual."""
    capitals: float
    """Share of capitalised words beyond names and beginnings: headings, title case."""
    questions: float
    """Share of the words in questions, beyond what a text that also answers has."""
    order: float
    """Mean gain of the word order, nats; see `order`."""
    repeated: float
    """Share of the words said before, word for word."""
    fresh: float
    """Share of the content words not among the 40 before them."""
    quoted: float
    """Share of the words quoted from a kernel."""
    echoed: float
    """Share of the words quoted from the prompt."""
    unlisted: float
    """Share of words English does not list, names apart."""
    prose: float
    """Share of the visible characters that are prose, not layout, code or chat format."""
    gain: float | None
    """How much likelier a language model finds the text after this prompt than after another one,
    nats a token; None where it was not asked."""


class Prompt(NamedTuple):
    """What of a prompt an answer can take up."""

    runs: Runs
    content: frozenset[str]
    """Lemmas of all content words."""
    specific: frozenset[str]
    """Lemmas of the specific ones and of names."""
    people: bool
    """It speaks of persons, so that a pronoun may mean one of them."""


@lru_cache(maxsize=1024)
def prompt_of(text: str) -> Prompt:
    """Read a prompt."""
    reading = read(clean(text))
    words = reading.words
    return Prompt(
        runs=runs_of(text),
        content=frozenset(k.lemma for k in words if not k.flags & FUNCTION),
        specific=frozenset(k.lemma for k in words if k.flags & SPECIFIC or not k.word.known),
        people=count(reading.flags, PERSON) > 0,
    )


def _pulled(found: float, size: float, typical: float, weight: float) -> float:
    """Return found/size, pulled towards a typical share with the weight of so many words."""
    return (found + weight * typical) / (size + weight)


# Typical shares: about the medians of the real answers of set A. Weights, in words of the kind
# counted: about what a good short answer has of them; tried out on sets A and B.
_VAGUE, _VAGUE_WORDS = 0.42, 20
_LINKED, _LINKED_WORDS, _LINKED_SHORT = 0.8, 60, 70
_NEW, _NEW_WORDS, _NEW_ENOUGH = 0.7, 6, 0.65
_ARGUMENT, _MOVES, _ARGUMENT_STRETCHES, _ROOM = 2.5, 3.4, 2, 4.6
_STRETCH = 25
_STOCK_WORDS = 8
_ABSTRACT, _ABSTRACT_WORDS = 0.06, 8
_FUNCTION, _FUNCTION_WORDS, _FUNCTION_ENOUGH = 0.575, 20, 0.53
_CAPITALS, _CAPITALS_WORDS = 0.12, 20
_QUESTIONS, _QUESTIONS_LEAST = 0.3, 4
_ORDER, _ORDER_WORDS = 0.45, 25
_NEARBY = 40
_GAIN, _GAIN_WORDS = 0.5, 10


def measure(
    reading: Reading,
    terms: Terms,
    prompt: Prompt | None,
    kernel: Runs,
    gain: float | None = None,
) -> Measures:
    """Measure an answer of at least one word.

    Args:
        reading: the answer.
        terms: the terms in it.
        prompt: what it answers; None where nobody knows. What needs it is then taken as typical.
        kernel: the runs of the kernels it may quote.
        gain: see `Answer.gain`.
    """
    size, runs = len(reading.words), runs_in(reading.forms, QUOTED)
    quoted = quotations(runs, size, kernel)
    echoed = quotations(runs, size, prompt.runs) if prompt else [False] * size
    flags, lemmas = reading.flags, reading.lemmas
    if any(quoted):
        flags = bytes(0 if q else flag for flag, q in zip(flags, quoted))
        lemmas = ["" if q else lemma for lemma, q in zip(lemmas, quoted)]
    content, specific = count(flags, CONTENT), count(flags, SPECIFIC)
    argument, moves = _argument(reading, terms, quoted, echoed)
    abstract = _pulled(count(flags, ABSTRACT), content, _ABSTRACT, _ABSTRACT_WORDS)
    function = _pulled(count(reading.flags, FUNCTION), size, _FUNCTION, _FUNCTION_WORDS)
    return Measures(
        words=size,
        vague=_pulled(content - specific, content, _VAGUE, _VAGUE_WORDS),
        linked=_linked(reading, prompt, lemmas, flags) if prompt else _LINKED,
        new=_new(prompt, lemmas, flags) if prompt else _NEW_ENOUGH,
        argument=argument,
        crowded=max(0.0, moves - _ROOM),
        stock=sum(terms.stock) / (size + _STOCK_WORDS),
        abstract=max(0.0, abstract - _ABSTRACT),
        function=min(_FUNCTION_ENOUGH, function),
        capitals=_capitals(reading),
        questions=_questions(reading),
        order=_pulled(reading.gains, size, _ORDER, _ORDER_WORDS),
        repeated=sum(repetitions(reading.forms)) / size,
        fresh=_fresh([k.lemma for k in reading.words if k.flags & CONTENT]),
        quoted=sum(quoted) / size,
        echoed=sum(echoed) / size,
        unlisted=count(reading.flags, UNLISTED) / size,
        prose=reading.share,
        gain=None if gain is None else _pulled(size * gain, size, _GAIN, _GAIN_WORDS),
    )


def _argument(
    reading: Reading, terms: Terms, quoted: Sequence[bool], echoed: Sequence[bool]
) -> tuple[float, float]:
    """Return the different moves in 25 words: those that earn something, and all."""
    earning = lexicon().argument
    moves = terms.moves
    if any(quoted) or any(echoed) or any(terms.stock):
        borrowed = map(any, zip(quoted, echoed, terms.stock))
        moves = [0 if b else bits for bits, b in zip(moves, borrowed)]
    earned = found = 0
    for start, end in stretches(reading):
        bits = reduce(or_, moves[start:end])
        earned += (bits & earning).bit_count()
        found += bits.bit_count()
    size = len(reading.words) / _STRETCH
    return (
        _pulled(earned, size, _ARGUMENT, _ARGUMENT_STRETCHES),
        _pulled(found, size, _MOVES, _ARGUMENT_STRETCHES),
    )


def _linked(reading: Reading, prompt: Prompt, lemmas: Sequence[str], flags: bytes) -> float:
    """Return how much of the text takes up the prompt's own words.

    A stretch counts in full with two specific words of the prompt, in good part with one; a generic
    word counts little, and so does a pronoun where the prompt speaks of persons.
    """
    total = 0.0
    for start, end in stretches(reading):
        here = set(lemmas[start:end])
        named = len(here & prompt.specific)
        general = len(here & prompt.content) - named
        person = prompt.people and count(flags[start:end], PERSON) > 0
        link = 0.7 * min(named, 1) + 0.3 * max(0, named - 1) + 0.2 * min(general, 2) + 0.3 * person
        total += min(1.0, link) * (end - start)
    size = len(reading.words)
    weight = _LINKED_WORDS * max(1.0, _LINKED_SHORT / size) ** 1.5
    return _pulled(total, size, _LINKED, weight)


def _new(prompt: Prompt, lemmas: Sequence[str], flags: bytes) -> float:
    """Return the share of the specific words that the prompt does not have."""
    specific = {lemma for lemma, flag in zip(lemmas, flags) if flag & SPECIFIC}
    share = _pulled(len(specific - prompt.content), len(specific), _NEW, _NEW_WORDS)
    return min(_NEW_ENOUGH, share)


def _capitals(reading: Reading) -> float:
    size = len(reading.words)
    capitals = count(reading.flags, CAPITAL)
    beyond = max(0.0, (capitals - len(reading.ends)) / size - _CAPITALS)
    return beyond * size / (size + _CAPITALS_WORDS)


def _questions(reading: Reading) -> float:
    asked, start, count = 0, 0, 0
    for end, question in reading.ends:
        if question:
            asked += end - start
            count += 1
        start = end
    if count < _QUESTIONS_LEAST:
        return 0.0
    return max(0.0, asked / len(reading.words) - _QUESTIONS)


def _fresh(lemmas: Sequence[str]) -> float:
    """Return the share of words not among the 40 before them (1 for no words)."""
    last: dict[str, int] = {}
    fresh = 0
    for i, lemma in enumerate(lemmas):
        if i - last.get(lemma, -_NEARBY - 1) > _NEARBY:
            fresh += 1
        last[lemma] = i
    return fresh / len(lemmas) if lemmas else 1.0
