"""Text to tokens: the plain reading of the rules, one token after the other.

Scores come from `lem.scorers.grammar.counting`, which finds the same numbers faster. The tokens
themselves are for those who want to see where a number comes from, and for the multiplier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lem.scorers.base import Span
from lem.scorers.grammar.signals import weigh
from lem.scorers.grammar.tables import Tables, tables_for

# White space of Unicode. `str.split` and `\s` also take U+001C to U+001F, which are none.
_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CHUNK = re.compile(f"[^{_SPACE}]+")


class Token(NamedTuple):
    """One word, phrase or punctuation mark.

    Attributes:
        raw: the text; of a single word together with the mark behind it.
        lower: the word (without its mark) or the mark in lower case.
        kind: `verb`, `noun`, `article`, `word` (a domain word), `punctuation` or `unknown`.
        span: where the word or mark stands in the text, in characters, without a mark behind it.
        base: base form of a verb, singular of a noun.
        tense: of a verb: `base`, `past` or `gerund`.
        plural: of a noun: whether it is one.
        label: of an article `definite` or `indefinite`, of a domain word its key, of a mark what
            it does.
        confidence: 1, or less for a verb that might be a noun or the other way round; 0 for
            unknown words.
        alternative: what else an ambiguous word might be; empty for all others.
        alternative_confidence: and how likely; it may be 0.
    """

    raw: str
    lower: str
    kind: str
    span: Span
    base: str = ""
    tense: str = ""
    plural: bool = False
    label: str = ""
    confidence: float = 1.0
    alternative: str = ""
    alternative_confidence: float = 0.0


class Reading(NamedTuple):
    """What a word is by itself. `ambiguous` is settled by its neighbours."""

    kind: str
    base: str = ""
    tense: str = ""
    plural: bool = False
    label: str = ""


_UNKNOWN = Reading("unknown")


def tokenise(text: str, profile: str = "head") -> list[Token]:
    """Return the tokens of a text, from left to right.

    Args:
        text: any text; nothing is normalised.
        profile: one of `PROFILES`.

    Raises:
        LemError: there is no such profile.
    """
    tables = tables_for(profile)
    tokens = _read(text, tables)
    if tables.dual:
        _settle(tokens, tables)
    return tokens


# --- shared with the fast count ------------------------------------------------------------------


def split(text: str) -> list[str]:
    """Return the pieces of a text between white space."""
    if "\x1c" in text or "\x1d" in text or "\x1e" in text or "\x1f" in text:
        return _CHUNK.findall(text)
    return text.split()


def lower(word: str) -> str:
    """Lower the case character by character, without looking at the neighbours.

    Two letters need help: `str.lower` makes two characters of a dotted capital I, and chooses
    between two forms of a sigma by where it stands.
    """
    if not word.isascii():
        word = word.replace("\u0130", "i").replace("\u03a3", "\u03c3")
    return word.lower()


def detach(chunk: str, tables: Tables) -> tuple[str, str]:
    """Part a chunk from the one mark that may end it; either may be empty."""
    marks = tables.marks
    if tables.newer and chunk in marks:
        return "", chunk
    if chunk.endswith("..."):
        return chunk[:-3], "..."
    if len(chunk) > 1 and chunk[-1] in marks:
        return chunk[:-1], chunk[-1]
    return chunk, ""


def read_word(word: str, tables: Tables) -> tuple[str, Reading]:
    """Return the lower case of one word and what it is by itself."""
    low = lower(word)
    if article := _article(word, low, tables):
        return low, Reading("article", label=article)
    verb, noun = tables.forms.find_verb(low), tables.forms.find_noun(low)
    if verb and noun and low in tables.dual:
        return low, Reading("ambiguous", low, "base")
    if verb:
        return low, Reading("verb", verb[0], verb[1])
    if noun:
        return low, Reading("noun", noun[0], plural=noun[1])
    if key := tables.words.get(low):
        return low, Reading("word", label=key)
    return low, _UNKNOWN


def _article(word: str, low: str, tables: Tables) -> str:
    """Return `definite` or `indefinite` if the word is an article, else an empty string."""
    if article := tables.articles.get(low):
        return article
    if not tables.newer or (low.isascii() and low.isalpha()):
        return ""
    inner = lower(detach(word, tables)[0]) or low
    inner = inner.replace("\u2019", "'").replace("\u02bc", "'")
    return tables.articles.get(inner.partition("'")[0], "")


def find_phrase(chunks: Sequence[str], i: int, tables: Tables) -> tuple[str, int, str] | None:
    """Return the key, length in chunks and final mark of the longest phrase at a place.

    Only the last word of a phrase may have a mark.
    """
    words: list[str] = []
    found = None
    for chunk in chunks[i : i + tables.phrase_starts.get(lower(chunks[i]), 0)]:
        word, mark = detach(chunk, tables)
        if not word:
            break
        words.append(lower(word))
        key = tables.words.get(" ".join(words)) if len(words) > 1 else None
        if key:
            found = (key, len(words), mark)
        if mark:
            break
    return found


# --- first pass: every word by itself ------------------------------------------------------------


def _read(text: str, tables: Tables) -> list[Token]:
    """Return the tokens, ambiguous words still unsettled."""
    matches = list(_CHUNK.finditer(text))
    chunks = [match[0] for match in matches]
    tokens: list[Token] = []
    i = 0
    while i < len(chunks):
        start = matches[i].start()
        if phrase := find_phrase(chunks, i, tables):
            key, length, mark = phrase
            end = matches[i + length - 1].end() - len(mark)
            raw = " ".join(detach(chunk, tables)[0] for chunk in chunks[i : i + length])
            tokens.append(Token(raw, lower(raw), "word", (start, end), label=key))
        else:
            length = 1
            word, mark = detach(chunks[i], tables)
            end = start + len(word)
            if word:
                low, reading = read_word(word, tables)
                kind, base, tense, plural, label = reading
                confidence = 0.0 if kind == "unknown" else 1.0
                tokens.append(
                    Token(
                        chunks[i], low, kind, (start, end), base, tense, plural, label, confidence
                    )
                )
        if mark:
            span = (end, end + len(mark))
            tokens.append(Token(mark, mark, "punctuation", span, label=tables.marks[mark]))
        i += length
    return tokens


# --- second pass: what the neighbours say --------------------------------------------------------


def _settle(tokens: list[Token], tables: Tables) -> None:
    """Decide every ambiguous token, from left to right, in place.

    Bases of inflected words are collected once, as this pass cannot change them; of the verbs in
    a clause it is enough to know whether there is one.
    """
    if all(token.kind != "ambiguous" for token in tokens):
        return
    plurals = {token.base for token in tokens if token.kind == "noun" and token.plural}
    inflected = {t.base for t in tokens if t.kind == "verb" and t.tense != "base"}
    clauses: list[int] = []
    for token in tokens:
        ends = token.kind == "punctuation" or token.lower in tables.boundaries
        clauses.append((clauses[-1] if clauses else 0) + ends)
    with_verb = {clause for clause, token in zip(clauses, tokens) if token.kind == "verb"}
    for i, token in enumerate(tokens):
        if token.kind != "ambiguous":
            continue
        before = tokens[i - 1].lower if i else ""
        after = tokens[i + 1] if i + 1 < len(tokens) else None
        no_longer = before == "longer" and i > 1 and tokens[i - 2].lower == "no"
        settled = weigh(
            after_determiner=before in tables.determiners,
            after_auxiliary=before in tables.auxiliaries,
            after_negation=before in tables.negations or no_longer,
            before_noun=after is not None and _like_a_noun(after, tables),
            before_verb=after is not None and after.kind == "verb",
            first=i == 0,
            verb_in_clause=clauses[i] in with_verb,
            plural_elsewhere=token.base in plurals,
            inflected_elsewhere=token.base in inflected,
        )
        if settled.verb == 1.0:
            with_verb.add(clauses[i])
        is_verb = settled.kind == "verb"
        tokens[i] = token._replace(
            kind=settled.kind,
            tense="base",
            confidence=settled.verb if is_verb else settled.noun,
            alternative="noun" if is_verb else "verb",
            alternative_confidence=settled.noun if is_verb else settled.verb,
        )


def _like_a_noun(token: Token, tables: Tables) -> bool:
    """Tell whether a token begins or is a noun phrase; an unsettled one does not."""
    return token.kind in ("article", "noun") or token.lower in tables.determiners
