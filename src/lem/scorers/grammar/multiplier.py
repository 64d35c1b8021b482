"""Variants of a text: every verb in its other tenses, every noun in the other number.

Source of the rules: go-i18n, package reversal, revision 3836295.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from lem.scorers.grammar.forms import Forms
from lem.scorers.grammar.tables import tables_for
from lem.scorers.grammar.tokens import Token, tokenise

_PROFILE = "head"
_TENSES = ("past", "gerund", "base")


def multiply(text: str, *, as_original: bool = False) -> Iterator[str]:
    """Yield a text and its variants, each once.

    First the text itself, trimmed; then with one verb changed, with one noun changed, and with
    one of each. That is up to 1 + 3 V + N + 3 V N variants for V verbs and N nouns, made one at a
    time, so take no more than you need of a long text. Variants already given are remembered.

    Args:
        text: any text; a blank one has no variants.
        as_original: reproduce the original's defect: tokens are joined by single spaces, so that
            line breaks are lost, and a mark behind a word that is not changed comes twice.
    """
    tokens = tokenise(text, _PROFILE)
    if not tokens:
        return
    trimmed = text[tokens[0].span[0] : tokens[-1].span[1]]
    pieces = _glued(tokens) if as_original else _in_place(text, tokens)
    seen = {trimmed}
    yield trimmed
    for changes in _changes(tokens, as_original):
        changed = pieces.copy()
        for i, word in changes:
            changed[2 * i + 1] = word
        variant = "".join(changed)
        if variant not in seen:
            seen.add(variant)
            yield variant


def _in_place(text: str, tokens: list[Token]) -> list[str]:
    """Return what stands before each token, and the token, in turns."""
    pieces: list[str] = []
    done = tokens[0].span[0]
    for token in tokens:
        start, end = token.span
        pieces += [text[done:start], text[start:end]]
        done = end
    return pieces


def _glued(tokens: list[Token]) -> list[str]:
    """Return the same for the original's way of joining raw tokens."""
    pieces: list[str] = []
    for token in tokens:
        space = " " if pieces and token.kind != "punctuation" else ""
        pieces += [space, token.raw]
    return pieces


def _changes(tokens: list[Token], as_original: bool) -> Iterator[list[tuple[int, str]]]:
    """Yield the words to change, by number of the token, for each variant in order."""
    forms = tables_for(_PROFILE).forms
    verbs = [i for i, token in enumerate(tokens) if token.kind == "verb"]
    nouns = [i for i, token in enumerate(tokens) if token.kind == "noun"]

    def tenses(i: int) -> Iterator[tuple[int, str]]:
        for tense in _TENSES:
            yield i, _in_tense(tokens[i], tense, forms, as_original)

    def other_number(i: int) -> tuple[int, str]:
        token = tokens[i]
        word = token.base if token.plural else forms.plural(token.base)
        return i, _like(token.raw, word)

    for v in verbs:
        for change in tenses(v):
            yield [change]
    for n in nouns:
        yield [other_number(n)]
    for v in verbs:
        for n in nouns:
            for change in tenses(v):
                yield [change, other_number(n)]


def _in_tense(token: Token, tense: str, forms: Forms, as_original: bool) -> str:
    """Return a verb in a tense; one that has it already stays as it is."""
    if token.tense == tense:
        start, end = token.span
        return token.raw if as_original else token.raw[: end - start]
    word = token.base
    if tense != "base":
        word = forms.past(word) if tense == "past" else forms.gerund(word)
    return _like(token.raw, word)


def _like(original: str, word: str) -> str:
    """Write a word in capitals, or with a capital, if the original is written like that."""
    letters = [c for c in original if c.isalpha()]
    if (
        len(original.encode("utf-8", "surrogatepass")) > 1
        and letters
        and all(map(_capital, letters))
    ):
        return "".join(map(_upper, word))
    if _capital(original[0]):
        return _upper(word[0]) + word[1:]
    return word


def _capital(character: str) -> bool:
    return unicodedata.category(character) == "Lu"


def _upper(character: str) -> str:
    """Return the capital of a letter, if that is one letter too."""
    upper = character.upper()
    return upper if len(upper) == 1 else character
