"""A text as the scorer reads it: its words, what is known of each, and where sentences end.

What depends on a word alone is looked up once and remembered; what depends on its place is worked
out here, in one pass over the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from lem.scorers.lexis import LONGEST, Word, lookup
from lem.scorers.prose import TOKEN, clean, plain
from lem.scorers.reasoning import order
from lem.scorers.reasoning.lexicon import REFUSAL, STOCK, Phrase, lexicon

QUOTED = 6
"""Length in words from which a run that stands in a kernel or in the prompt is a quotation."""
REPEATED = 4
"""Length in words from which a run that was said before is a repetition."""
WINDOW = (18, 40)
"""Least and greatest length in words of the stretches a text is read in."""

_OPENING = 30
"""Words from the beginning within which a refusal is one; later it is reported speech, a limit
named in passing, or the kernel."""

Runs = frozenset[tuple[str, ...]]


# What is known of a word, as bits of `Known.flags`.
FUNCTION, CONTENT, SPECIFIC, ABSTRACT, PERSON, UNLISTED, CAPITAL = (1 << i for i in range(7))


class Known(NamedTuple):
    """What is known of a word as it stands in a text."""

    word: Word
    form: str
    lemma: str
    slot: int
    flags: int
    """FUNCTION: a function word; CONTENT: of an open class; SPECIFIC, ABSTRACT, PERSON: see
    `Entry`; UNLISTED: English does not list it, and it is no name; CAPITAL."""
    moves: int
    phrases: dict[str, list[Phrase]]


class Reading(NamedTuple):
    """One text, read."""

    prose: str
    """The plain text; its words are the tokens of `TOKEN` that begin with a letter."""
    words: list[Known]
    forms: list[str]
    lemmas: list[str]
    flags: bytes
    gains: float
    """Sum over the words of how well each follows what stands before it and, where a mark comes
    next, how well the mark follows it (the mean of the two); see `order`."""
    ends: list[tuple[int, bool]]
    """For each sentence the index of the word after it, and whether it is a question."""
    share: float
    """Share of the visible characters that are prose, not layout, code or chat format."""


@lru_cache(maxsize=100_000)
def know(token: str) -> Known | int:
    """Return what is known of a word as it stands in the text; for a mark its slot, or -1 for one
    that parts nothing."""
    slots = order.order_table().slots
    first = token[0]
    if not first.isalpha():
        mark = _mark(token)
        return slots[mark] if mark else -1
    word = lookup(token)
    entry = lexicon().entry(word)
    capital = first.isupper()
    flags = (
        FUNCTION * word.function
        | CONTENT * bool(word.classes)
        | SPECIFIC * entry.specific
        | ABSTRACT * entry.abstract
        | PERSON * entry.person
        | UNLISTED * (not word.known and not capital)
        | CAPITAL * (capital and not word.form.startswith("i"))
    )
    slot = slots.get(_slot(token, word), slots[order.UNKNOWN])
    return Known(word, word.form, word.lemma, slot, flags, entry.moves, entry.phrases)


def _mark(token: str) -> str | None:
    """Return the slot of a mark or number."""
    if token[0] in ".!?":
        return order.QUESTION if "?" in token else order.END
    if token[0].isdigit():
        return order.NUMBER
    return None if token in '"()' else order.PAUSE


def _slot(token: str, word: Word) -> str:
    """Return the slot of a word as it stands in the text."""
    if word.function or word.classes:
        return word.slot
    return order.NAME if token[0].isupper() else order.UNKNOWN


def read(text: str) -> Reading:
    """Read a clean text."""
    prose = plain(text)
    slots, gains_of = order.order_table()
    end, question = slots[order.END], slots[order.QUESTION]
    words: list[Known] = []
    gains: list[float] = []
    ends: list[tuple[int, bool]] = []
    left, ended = end, 0
    for token in TOKEN.findall(prose):
        known = know(token[:LONGEST])
        if not isinstance(known, int):
            right = known.slot
            gains.append(gains_of[left][right])
            words.append(known)
        elif known < 0:
            continue
        else:
            right = known
            if right in (end, question) and len(words) > ended:
                gains[-1] = (gains[-1] + gains_of[left][right]) / 2
                ended = len(words)
                ends.append((ended, right == question))
        left = right
    if len(words) > ended:
        ends.append((len(words), False))
    return Reading(
        prose,
        words,
        [known.form for known in words],
        [known.lemma for known in words],
        bytes([known.flags for known in words]),
        sum(gains),
        ends,
        _visible(prose) / max(1, _visible(text)),
    )


def _visible(text: str) -> int:
    """Return the number of characters that are not white space."""
    return sum(map(len, text.split()))


def count(flags: bytes, flag: int) -> int:
    """Return the number of words that have a flag."""
    return len(flags) - len(flags.translate(None, _WITH[flag]))


_WITH = {1 << i: bytes(b for b in range(128) if b >> i & 1) for i in range(7)}


def slots_of(text: str) -> list[str]:
    """Return the slots of a text, for counting the table of pairs."""
    slots = (
        _slot(token, lookup(token[:LONGEST])) if token[0].isalpha() else _mark(token)
        for token in TOKEN.findall(plain(clean(text)))
    )
    return [slot for slot in slots if slot]


def stretches(reading: Reading) -> list[tuple[int, int]]:
    """Cut a text into stretches of whole sentences, as (start, end) in words.

    Short sentences are joined, long ones cut, so that what is counted per stretch does not depend
    on the length of sentences or on line ends; a short rest joins the stretch before it.
    """
    least, most = WINDOW
    cuts: list[tuple[int, int]] = []
    start = 0
    for end, _ in reading.ends:
        while end - start > most:
            cuts.append((start, start + 3 * most // 4))
            start += 3 * most // 4
        if end - start >= least:
            cuts.append((start, end))
            start = end
    if start < len(reading.words):
        if cuts and len(reading.words) - start < least // 2:
            start = cuts.pop()[0]
        cuts.append((start, len(reading.words)))
    return cuts


# --- quotation and repetition --------------------------------------------------------------------


@lru_cache(maxsize=1024)
def runs_of(*sources: str) -> Runs:
    """Return all runs of `QUOTED` words of kernels or of a prompt."""
    runs: set[tuple[str, ...]] = set()
    for source in sources:
        runs.update(runs_in(read(clean(source)).forms, QUOTED))
    return frozenset(runs)


def quotations(runs: Sequence[tuple[str, ...]], size: int, source: Runs) -> list[bool]:
    """Mark the words that stand in a run which the source has too.

    Args:
        runs: all runs of `QUOTED` words of the text, in order.
        size: its length in words.
    """
    marked = [False] * size
    if not source.isdisjoint(runs):
        for i, run in enumerate(runs):
            if run in source:
                marked[i : i + QUOTED] = [True] * QUOTED
    return marked


def repetitions(forms: Sequence[str]) -> list[bool]:
    """Mark the words that stand in a run said before in the text."""
    marked = [False] * len(forms)
    runs = runs_in(forms, REPEATED)
    if len(set(runs)) == len(runs):
        return marked
    said: set[tuple[str, ...]] = set()
    for i, run in enumerate(runs):
        if run in said:
            marked[i : i + REPEATED] = [True] * REPEATED
        else:
            said.add(run)
    return marked


def runs_in(forms: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """Return all runs of so many words, in order."""
    return list(zip(*(forms[k:] for k in range(length))))


# --- terms ---------------------------------------------------------------------------------------


class Terms(NamedTuple):
    """Where the terms of the tables stand."""

    moves: list[int]
    """For each word the bits of the moves whose terms begin with it."""
    stock: list[bool]
    """The words of stock phrases; a refusal is one."""
    refusal: bool
    """The text begins by declining: a refusal begins among its first words."""


def terms_of(words: Sequence[Known]) -> Terms:
    """Find all terms in a text."""
    moves = [known.moves for known in words]
    stock = [False] * len(words)
    refusal = False
    for i in [i for i, known in enumerate(words[:-1]) if known.phrases]:
        phrases, second = words[i].phrases, words[i + 1]
        for key in (second.form, second.lemma) if second.form != second.lemma else (second.form,):
            for phrase in phrases.get(key, ()):
                if phrase.rest and not _stands(words, i + 2, phrase.rest):
                    continue
                if phrase.bits < STOCK:
                    moves[i] |= phrase.bits
                elif phrase.bits == STOCK or i < _OPENING:
                    stock[i : i + phrase.length] = [True] * phrase.length
                    refusal = refusal or phrase.bits == REFUSAL
    return Terms(moves, stock, refusal)


def _stands(words: Sequence[Known], start: int, terms: Sequence[str]) -> bool:
    """Tell whether these terms stand one after the other from a place in the text."""
    if start + len(terms) > len(words):
        return False
    for i, term in enumerate(terms, start):
        if term != words[i].form and term != words[i].lemma:
            return False
    return True
