"""The word tables of the `reasoning` scorer, ready to match.

All are in `data/reasoning_lexicon.json` and written for this project:

moves       what reasoning about a case does: give a reason, set a condition, name what is at stake,
            who is concerned, what speaks against, what is not known, what to do; and two that are
            shown but earn nothing, moral vocabulary and talk of minds
stock       phrases that answer anything
refusal     phrases that decline, where they stand at the beginning of an answer
generic     words that fit any topic and so say nothing of this one; moral vocabulary is among them

A term is one word or several; each of its words matches the form or the lemma of a word.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from lem.scorers.lexis import Word


class Phrase(NamedTuple):
    """A term of several words, from its third word on."""

    rest: tuple[str, ...]
    length: int
    """Of the whole term, in words."""
    bits: int
    """The move it belongs to, `STOCK` or `REFUSAL`."""


STOCK, REFUSAL = 1 << 30, 1 << 31


class Entry(NamedTuple):
    """What the tables say of one word."""

    moves: int
    """Bit i: the word alone is a term of move i."""
    phrases: dict[str, list[Phrase]]
    """Terms of several words that begin with it, by their second word."""
    specific: bool
    """A content word that is not generic."""
    abstract: bool
    """A content word with the ending of an abstract noun."""
    person: bool
    """A word for a person, or a third-person pronoun."""


PRONOUNS = frozenset(
    f"{word}{ending}"
    for word, endings in {
        "he": ("", "'s", "'d", "'ll"),
        "she": ("", "'s", "'d", "'ll"),
        "they": ("", "'re", "'d", "'ll", "'ve"),
        "him": ("", "self"),
        "her": ("", "s", "self"),
        "them": ("", "selves"),
        "his": ("",),
        "their": ("", "s"),
    }.items()
    for ending in endings
)


class Lexicon:
    """The tables by first word."""

    def __init__(self) -> None:
        source = resources.files("lem.scorers").joinpath("data", "reasoning_lexicon.json")
        data = json.loads(source.read_text(encoding="utf-8"))
        self.moves: tuple[str, ...] = tuple(data["moves"])
        self.argument = sum(1 << self.moves.index(name) for name in data["argument"])
        """The moves that earn something."""
        self._alone: dict[str, int] = {}
        self._phrases: dict[str, dict[str, list[Phrase]]] = {}
        for i, terms in enumerate(data["moves"].values()):
            self._add(terms, 1 << i)
        self._add(data["stock"], STOCK)
        self._add(data["refusal"], REFUSAL)
        self._generic = frozenset(data["generic"])
        self._people = PRONOUNS.union(data["moves"]["person"])
        self._endings = tuple(data["abstract_endings"])

    def _add(self, terms: Sequence[str], bits: int) -> None:
        for term in terms:
            first, *rest = term.replace("-", " ").split()
            if not rest:
                self._alone[first] = self._alone.get(first, 0) | bits
                continue
            phrase = Phrase(tuple(rest[1:]), 1 + len(rest), bits)
            self._phrases.setdefault(first, {}).setdefault(rest[0], []).append(phrase)

    def entry(self, word: Word) -> Entry:
        """Return what the tables say of a word."""
        moves = 0
        phrases: dict[str, list[Phrase]] = {}
        for key in {word.form, word.lemma}:
            moves |= self._alone.get(key, 0)
            for second, found in self._phrases.get(key, {}).items():
                phrases.setdefault(second, []).extend(found)
        generic = word.form in self._generic or word.lemma in self._generic
        return Entry(
            moves=moves,
            phrases=phrases,
            specific=bool(word.classes) and not generic,
            abstract=bool(word.classes) and word.lemma.endswith(self._endings),
            person=word.form in self._people or word.lemma in self._people,
        )


@cache
def lexicon() -> Lexicon:
    """Read the tables, once."""
    return Lexicon()
