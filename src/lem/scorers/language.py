"""Which language a text is in, and whether it is English.

English is told by its own words: a share of the words that English lists, function words among
them. Only where that fails is a classifier asked (py3langid, 97 languages), and believed where it
is sure; a text that is no language at all, such as invented words, stays "und".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from lem.scorers.lexis import LONGEST, Word, lookup
from lem.scorers.prose import clean, plain, words

UNDETERMINED = "und"
"""No language: nothing to read, or not confidently anything (ISO 639-2 code)."""

_LISTED = 0.6
"""Share of words listed in English from which a text is English. The 332 English answers of the
validity sets have at least 0.78 (dialect and names included), one sentence each of ten other
languages (tests/test_prose.py and more) at most 0.20."""
_FUNCTION = 0.1
"""... and the least share of function words, which in the same answers is at least 0.20."""
_SAMPLE_WORDS = 200
_SAMPLE_CHARACTERS = 1000
_SURE = 0.9

# Languages nobody answers in and which invented words are readily taken for.
_IGNORED = frozenset({"la", "eo", "vo", "xh", "zu", "rw", "qu", "jv", "mg", "ht", "se", "br", "wa"})


def identify(text: str) -> str:
    """Return the ISO 639-1 code of the language of a text, or `und`."""
    plain_text = plain(clean(text))
    return identify_words(plain_text, sample(words(plain_text)))


def sample(found: Sequence[str]) -> list[Word]:
    """Look up as many words as it takes to tell the language."""
    return [lookup(word[:LONGEST]) for word in found[:_SAMPLE_WORDS]]


def identify_words(plain_text: str, found: Sequence[Word]) -> str:
    """Return the language of a plain text whose words have been looked up already."""
    if not found:
        return UNDETERMINED
    found = found[:_SAMPLE_WORDS]
    listed = sum([word.known for word in found])
    held = sum([word.function for word in found])
    if listed >= _LISTED * len(found) and (held >= _FUNCTION * len(found) or len(found) < 12):
        return "en"
    language, sure = _classifier().classify(_head(plain_text))
    if language in _IGNORED or sure < _SURE:
        return "en" if listed >= _LISTED * len(found) else UNDETERMINED
    return str(language)


def _head(text: str) -> str:
    """Return the beginning of a text as the classifier can take it (no lone surrogates)."""
    return text[:_SAMPLE_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


@cache
def _classifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
