"""Style: openings, lengths, reading level, planted vocabulary, leaks, stock phrases.

A set of texts that all begin alike, or are full of the words that a score counts, teaches and
measures those words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from lem.corpus.texts import Passage
from lem.scorers import v2
from lem.scorers.base import Answer
from lem.scorers.overlap import citations, keep
from lem.scorers.prose import clean, plain, sentence_count
from lem.text import excerpt

PLANTED = ("axiom_resonance", "nuance", "perspective_taking", "metaphor")
"""The v2 signals that count words of ethics talk; see `lem.scorers.v2`."""

STOCK = ("compliance_markers", "formulaic_preamble")
"""The v2 signals that count stock refusals and stock openings."""

OPENING = 3
"""Words an opening."""


class Lengths(NamedTuple):
    """Words of the texts of a set, blanks apart."""

    least: int
    median: float
    most: int
    total: int


class Opening(NamedTuple):
    """How the most frequent opening of a set goes."""

    words: str
    texts: int
    share: float


def lengths(passages: Sequence[Passage]) -> Lengths:
    """Word counts of at least one passage."""
    counts = [word_count(p.text) for p in passages]
    return Lengths(min(counts), median(counts), max(counts), sum(counts))


def word_count(text: str) -> int:
    """Words of a text, blanks apart."""
    return len(text.split())


def openings(passages: Sequence[Passage]) -> list[Opening]:
    """The first words of at least one passage, the most frequent ones first."""
    counts = Counter(" ".join(p.words[:OPENING]) for p in passages)
    return [Opening(w, c, c / len(passages)) for w, c in counts.most_common()]


def reading_level(text: str) -> float:
    """The automated readability index: about the school year in the United States that reads it.

    4.71 letters a word + 0.5 words a sentence - 21.43 (Senter & Smith 1967).
    """
    prose = plain(clean(text))
    words = prose.split()
    if not words:
        return 0.0
    letters = sum(c.isalnum() for c in prose)
    sentences = max(1, sentence_count(prose))
    return 4.71 * letters / len(words) + 0.5 * len(words) / sentences - 21.43


def planted(text: str) -> list[str]:
    """The pieces of a text that the v2 score takes for ethics, in order of signal."""
    found = v2.evidence(text)
    return [text[a:b].strip() for signal in PLANTED for a, b in found[signal]]


def stock(text: str) -> list[str]:
    """Stock refusals and stock openings in a text."""
    found = v2.evidence(text)
    return [text[a:b].strip() for signal in STOCK for a, b in found[signal]]


def leak(text: str, kernels: Sequence[str]) -> str | None:
    """Why a text counts as leaking a kernel; None if it does not.

    It names an axiom, LEK or the kernel, or has word sequences of a kernel (see
    `lem.scorers.overlap.keep`).
    """
    named = citations(text)
    if named:
        start, end = named[0]
        return f"citation: {excerpt(text[start:end])!r}"
    return keep(Answer(text, kernels=tuple(kernels)), allow_citations=True)
