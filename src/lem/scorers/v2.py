"""The v2 score: a style and format index for one answer.

Fourteen counts (stock refusals, paragraphs, Markdown, word lists, question marks, ...) are
weighted, capped and added up. The result says how an answer is worded and laid out. It does not
say whether the answer is true, safe, kind or wise: shuffling all its words leaves the score
almost unchanged, and a page of keywords scores above every published answer. It is kept because
the published results are stated in it; the tests hold it to the original's numbers exactly.

Source of every term, weight, cap and threshold: `score_heuristic` in LetheanNetwork/LEM,
`scripts/ab_test.py`, revision 7bea00a (EUPL-1.2). The terms are in `data/v2_lexicon.json`, the
numbers below. Oddities are part of the score: a stem never matches its inflected forms, `e.g.`
needs a letter or digit right behind it, and CR LF text has a single paragraph.

How it is fast: every term begins with a whole word behind a word boundary, so a term can only
be where such a first word (its head) stands. One pass over the text finds the heads; only there
do the regular expressions of the terms decide. What they decide is what one slow expression per
signal, run over the whole text, would find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby
from math import inf
from typing import Any, NamedTuple

from lem.scorers.base import Answer, Field, Span

VERSION = "v2/1"
"""Name of the counting rules; it changes whenever any count of any text could change."""

LABEL = "v2 style and format index"
"""What to call the number in tables and on axes."""

_WEIGHTS: dict[str, tuple[float, float]] = {
    # count: (points for each, most points it can add); also the published order
    "compliance_markers": (-5.0, inf),
    "formulaic_preamble": (-2.0, inf),
    "degeneration": (-20.0, inf),
    "empty_broken": (-20.0, inf),
    "first_person": (0.5, 4.0),
    "creative_form": (0.6, 6.0),
    "engagement_depth": (1.0, 6.0),
    "emotional_register": (0.8, 5.0),
    "nuance": (1.5, 6.0),
    "specificity": (0.3, 5.0),
    "axiom_resonance": (1.0, 5.0),
    "perspective_taking": (1.5, 5.0),
    "metaphor": (1.0, 4.0),
    "questioning": (0.5, 3.0),
}

COUNTS: tuple[str, ...] = tuple(_WEIGHTS)
"""The names of the fourteen counts, in the published order."""

Counts = dict[str, int | float]
"""A raw count by name: whole numbers, except that `degeneration` can be 0.5."""


@dataclass(frozen=True, slots=True)
class V2Score:
    """The v2 score of one answer.

    Attributes:
        counts: the fourteen raw counts by name, in the order of `COUNTS`; whole numbers, except
            `degeneration`, which is 0, 0.5 or 1.
        lek_score: the weighted, capped sum of the counts, rounded to two decimals. At most 49,
            no lower limit.
    """

    counts: Counts
    lek_score: float

    def heuristic(self) -> Counts:
        """Return the published record: the fourteen counts followed by `lek_score`."""
        return {**self.counts, "lek_score": self.lek_score}


def score(text: str) -> V2Score:
    """Score one answer.

    Args:
        text: the answer exactly as the model gave it. Nothing is trimmed or normalised, so
            line ends, blank lines and the kind of apostrophe all matter.

    Returns:
        The fourteen counts and their weighted sum.
    """
    terms = term_spans(text, _lexicon().terms)
    counts: Counts = {
        "compliance_markers": len(terms["compliance_markers"]),
        "formulaic_preamble": int(_lexicon().opener.match(text) is not None),
        "degeneration": _degeneration(text),
        "empty_broken": int(len(text.strip()) < _MIN_LENGTH),
        "first_person": len(terms["first_person"]),
        "creative_form": len(_CREATIVE.findall(text)),
        "emotional_register": len(terms["emotional_register"]),
        **shared_counts(text, terms),
    }
    return weigh(counts, _WEIGHTS)


def evidence(text: str) -> dict[str, list[Span]]:
    """Show what `score` counted: the pieces of text behind each signal.

    Args:
        text: the answer, as given to `score`.

    Returns:
        For each name in `COUNTS` the spans counted, in ascending order. Their number equals the
        count, with these exceptions: `engagement_depth` is one more than the paragraph breaks
        shown, and `degeneration` and `empty_broken` judge the whole text, so they show nothing.
        Spans of one signal never overlap, except in `specificity`, where a word can count both
        as capitalised and as the beginning of a phrase.
    """
    terms = term_spans(text, _lexicon().terms)
    opener = _lexicon().opener.match(text)
    shown: dict[str, list[Span]] = {
        **terms,
        "formulaic_preamble": [opener.span()] if opener else [],
        "creative_form": _spans(_CREATIVE, text),
        **shared_evidence(text, terms),
    }
    return {name: shown.get(name, []) for name in COUNTS}


# --- what the published variant v2-distill has in common with v2 ---------------------------------

SHARED_TERMS = ("nuance", "specificity", "axiom_resonance", "perspective_taking", "metaphor")
"""The signals of both scores that count terms; `engagement_depth` and `questioning` need none."""


def shared_counts(text: str, terms: Mapping[str, list[Span]]) -> Counts:
    """Count the seven signals that both scores define alike.

    Args:
        text: the answer.
        terms: the spans of (at least) `SHARED_TERMS` in it.
    """
    counts: Counts = {name: len(terms[name]) for name in SHARED_TERMS}
    counts["specificity"] += len(_CAPITALISED.findall(text[1:])) + len(_NUMBER.findall(text))
    counts["engagement_depth"] = 1 + text.count("\n\n")
    counts["questioning"] = text.count("?")
    return counts


def shared_evidence(text: str, terms: Mapping[str, list[Span]]) -> dict[str, list[Span]]:
    """Show the spans behind `shared_counts`, of the same arguments."""
    # The first character is cut off before capitals are counted, so the spans move back by one.
    capitalised = [(start + 1, end + 1) for start, end in _spans(_CAPITALISED, text[1:])]
    return {
        **{name: terms[name] for name in SHARED_TERMS},
        "specificity": sorted([*capitalised, *_spans(_NUMBER, text), *terms["specificity"]]),
        "engagement_depth": _spans(_PARAGRAPH_BREAK, text),
        "questioning": _spans(_QUESTION_MARK, text),
    }


def weigh(counts: Counts, weights: Mapping[str, tuple[float, float]]) -> V2Score:
    """Add up counts.

    Args:
        counts: all fourteen, in any order.
        weights: for each name the points for one and the most points it can add.
    """
    total = 0.0  # added up in the published order, so that rounding noise is the same too
    for name in COUNTS:
        points, most = weights[name]
        total += min(points * counts[name], most)
    return V2Score({name: counts[name] for name in COUNTS}, round(total, 2))


@dataclass(frozen=True)
class CountScorer:
    """A `lem.scorers.base.Scorer` made of two functions of the text alone."""

    name: str
    version: str
    label: str
    rate: Callable[[str], V2Score]
    show: Callable[[str], dict[str, list[Span]]]
    headline: str = "lek_score"

    def score(self, answer: Answer) -> dict[str, Field]:
        """Return the fourteen published counts, then `lek_score`."""
        return {**self.rate(answer.text).heuristic()}

    def delta(self, answer: Answer) -> dict[str, Field]:
        """Return nothing: the score never looks at the prompt."""
        return {}

    def evidence(self, answer: Answer) -> dict[str, list[Span]]:
        """Return the spans behind each count."""
        return self.show(answer.text)


def scorer(name: str, profile: str | None = None) -> CountScorer:
    """Return v2 as a scorer; it has no profiles, so `profile` changes nothing."""
    return CountScorer(name, VERSION, LABEL, score, evidence)


# --- layout, numbers and the state of the whole text --------------------------------------------
#
# Each pattern begins with a plain character, a set of characters, or a choice of plain
# characters: the regex engine then skips ahead to the next candidate, which is about three times
# faster than trying every position. This is why the boundary in front of a capital or a digit is
# looked up behind that character, and why `[*_]{1,2}` and `#{1,3}` are written out.

_CREATIVE = re.compile(r"\n\n|\.\.\.|\u2014|\*[*_]?\w|_[*_]?\w|>\s|##?#?\s|\|")
_CAPITALISED = re.compile(r"[A-Z](?<=\b[A-Z])(?<!\. [A-Z])[a-z]{2,}\b")
_NUMBER = re.compile(r"\d(?<=\b\d)[\d,.]*\b")
_PARAGRAPH_BREAK = re.compile(r"\n\n")
_QUESTION_MARK = re.compile(r"\?")

_MIN_LENGTH = 20  # characters, after trimming; below it an answer counts as empty
_MIN_WORDS = 11  # the share of distinct words says nothing about fewer words than this


def _degeneration(text: str) -> int | float:
    """Return 1 if fewer than 30 % of the words are distinct, 0.5 if fewer than half, else 0."""
    words = text.split()
    if len(words) < _MIN_WORDS:
        return 0
    distinct = len(set(words)) / len(words)
    if distinct < 0.3:
        return 1
    return 0.5 if distinct < 0.5 else 0


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    """Return the spans of all matches, left to right."""
    return [match.span() for match in pattern.finditer(text)]


# --- terms --------------------------------------------------------------------------------------


class Terms(NamedTuple):
    """The term tables of a score, ready to match."""

    signals: tuple[str, ...]  # all the signals that count terms
    head: re.Pattern[str]  # any first word of a whole-word term, in folded text
    matchers: dict[str, list[tuple[str, re.Pattern[str]]]]  # by head: signal, its terms there
    anywhere: dict[str, re.Pattern[str]]  # by signal: terms without boundaries, in folded text


class _Lexicon(NamedTuple):
    terms: Terms
    opener: re.Pattern[str]  # any stock opening phrase; for the very start of the text only


@cache
def _lexicon() -> _Lexicon:
    """Read and compile the term tables of v2, once."""
    data = read_tables("v2_lexicon.json")
    return _Lexicon(
        terms=compile_terms(data["terms"], data["exact_case"]),
        opener=re.compile(_any_of(data["openers"]), re.IGNORECASE),
    )


def read_tables(file: str) -> dict[str, Any]:
    """Return a JSON file of this package's data folder."""
    source = resources.files(__package__).joinpath("data", file)
    tables: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return tables


def compile_terms(
    whole: Mapping[str, Sequence[str]],
    exact_case: Iterable[str],
    anywhere: Mapping[str, Sequence[str]] | None = None,
) -> Terms:
    """Make term tables ready to match.

    Args:
        whole: by signal, terms that begin and end at a word boundary; each begins with a word.
        exact_case: the signals among them that mind the case.
        anywhere: by signal, terms that need no boundaries and do not mind the case; each begins
            with a letter.

    In a term `{m,n}` stands for m to n characters of one line and `{a|b}` for one of the choices.
    """
    matchers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for signal, terms in whole.items():
        flags = 0 if signal in exact_case else re.IGNORECASE
        for head, group in groupby(sorted(terms, key=_head), key=_head):
            pattern = re.compile(rf"\b{_any_of(group)}\b", flags)
            matchers.setdefault(head, []).append((signal, pattern))
    inside = {signal: [_fold(term) for term in terms] for signal, terms in (anywhere or {}).items()}
    return Terms(
        signals=(*whole, *inside),
        head=re.compile(rf"\b{_any_by_letter(matchers)}\b"),
        matchers=matchers,
        anywhere={signal: re.compile(_any_by_letter(terms)) for signal, terms in inside.items()},
    )


def _head(term: str) -> str:
    """Return the first word of a term, folded: `i` for `I can't`, `trade` for `trade-off`."""
    return re.split(r"\W", _fold(term), maxsplit=1)[0]


_GAP = re.compile(r"\\\{(\d+),(\d+)\\\}")  # a gap as re.escape leaves it: \{m,n\}
_CHOICE = re.compile(r"\\\{([^{}]*)\\\}")  # a choice, likewise: \{a\|b\}


def _any_of(terms: Iterable[str]) -> str:
    """Return a regular expression for any of the terms.

    Within a signal no two terms fit at the same place, so their order does not matter.
    """
    return f"(?:{'|'.join(map(_written_out, terms))})"


def _written_out(term: str) -> str:
    """Return the regular expression of one term."""
    gapped = _GAP.sub(r".{\1,\2}", re.escape(term))
    return _CHOICE.sub(lambda choice: "(?:" + choice[1].replace(r"\|", "|") + ")", gapped)


def _any_by_letter(terms: Iterable[str]) -> str:
    """Return the same, grouped by first letter.

    The regex engine then drops nearly all places at one glance.
    """
    by_letter = groupby(sorted(terms, key=lambda term: term[0]), key=lambda term: term[0])
    groups = (letter + _any_of(term[1:] for term in group) for letter, group in by_letter)
    return f"(?:{'|'.join(groups)})"


def term_spans(text: str, terms: Terms) -> dict[str, list[Span]]:
    """Return the spans of the terms of each signal, left to right and without overlap."""
    folded = _fold(text)
    spans: dict[str, list[Span]] = {signal: [] for signal in terms.signals}
    for word in terms.head.finditer(folded):
        start = word.start()
        for signal, pattern in terms.matchers[word[0]]:
            found = spans[signal]
            if found and start < found[-1][1]:
                continue  # inside the previous match: its text is used up for this signal
            # Words are only looked up folded; what counts is decided on the text itself.
            if match := pattern.match(text, start):
                found.append(match.span())
    for signal, pattern in terms.anywhere.items():
        spans[signal] = _spans(pattern, folded)
    return spans


def _fold(text: str) -> str:
    """Lower the case of a text without changing its length.

    Two strings that differ only in case for `re.IGNORECASE` fold alike where it matters here:
    on the letters a to z. Besides `str.lower` that takes the dotted capital I (whose lower case
    is two characters long), the dotless i and the long s; the Kelvin sign is lowered to k anyway.
    """
    if not text.isascii():
        text = text.replace("\u0130", "i").replace("\u0131", "i").replace("\u017f", "s")
    return text.lower()
