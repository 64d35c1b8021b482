"""The word tables of each profile, ready to look up."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lem.errors import LemError
from lem.scorers.grammar.forms import Forms

PROFILES: tuple[str, ...] = ("head", "head_unloaded", "paper")
"""States of the original engine, the default first.

`head` is its newest revision used properly. `head_unloaded` is the same revision with only its
built-in words, which is what one gets by just constructing its tokeniser. `paper` is the older
revision, unloaded as well, behind the published numbers.
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """What one profile knows.

    Attributes:
        profile: one of `PROFILES`.
        forms: the inflection rules, and with them the lookup of inflected words.
        marks: punctuation mark -> kind; three dots are one mark.
        newer: the rules of the newer revision: a mark standing alone is punctuation, and an
            article may carry an apostrophe or one more mark.
        articles: article -> `definite` or `indefinite`.
        words: domain word or phrase in lower case -> its key.
        phrase_starts: first word of a phrase -> most words in a phrase that begins with it.
        dual: words that are both verb and noun; only they are ever ambiguous.
        determiners, auxiliaries, negations: words before an ambiguous one that settle it; the
            infinitive marker counts as an auxiliary.
        boundaries: words that end a clause.
    """

    profile: str
    forms: Forms
    marks: dict[str, str]
    newer: bool
    articles: dict[str, str]
    words: dict[str, str]
    phrase_starts: dict[str, int]
    dual: frozenset[str]
    determiners: frozenset[str]
    auxiliaries: frozenset[str]
    negations: frozenset[str]
    boundaries: frozenset[str]


def require_profile(profile: str) -> None:
    """Check the name of a profile.

    Raises:
        LemError: there is no such profile.
    """
    if profile not in PROFILES:
        raise LemError(
            f"The grammar scorer has no profile {profile!r}.",
            "Nothing was scored.",
            f"Choose from: {', '.join(PROFILES)}.",
        )


def one_profile(profiles: Iterable[str], what: str) -> str:
    """Return the profile that all these numbers share.

    Args:
        profiles: the profile of each number; at least one.
        what: what was to be done with them, as the beginning of a sentence, for example
            "The similarity".

    Raises:
        LemError: they were made with more than one profile. Numbers of different profiles differ
            for the same text, so a difference between them would say nothing about the texts.
    """
    found = sorted(set(profiles))
    if len(found) > 1:
        raise LemError(
            f"These grammar numbers come from different profiles: {', '.join(found)}.",
            f"{what} was not computed: it would mix two yardsticks.",
            "Score all texts again with one profile.",
        )
    return found[0]


@cache
def tables_for(profile: str) -> Tables:
    """Return the tables of a profile, read and indexed once.

    Raises:
        LemError: there is no such profile.
    """
    require_profile(profile)
    data = _read()
    loaded, newer = profile == "head", profile != "paper"
    signals, locale = data["signals"], data["locale"]
    forms = _forms(data, loaded, newer)
    words: dict[str, str] = {}
    if loaded:
        for key, written in locale["words"].items():
            words |= {key.lower(): key, written.lower(): key}
    phrase_starts: dict[str, int] = {}
    for phrase in words:
        first, *rest = phrase.split(" ")
        if rest:
            phrase_starts[first] = max(phrase_starts.get(first, 0), 1 + len(rest))
    unloaded_auxiliaries = [] if loaded else signals["auxiliary_unloaded"]
    return Tables(
        profile=profile,
        forms=forms,
        marks=data["punctuation"]["head" if newer else "paper"],
        newer=newer,
        articles={a: kind for kind, articles in data["articles"].items() for a in articles},
        words=words,
        phrase_starts=phrase_starts,
        dual=forms.base_verbs & forms.base_nouns,
        determiners=frozenset(signals["determiner"]),
        auxiliaries=frozenset(
            [*signals["auxiliary"], *unloaded_auxiliaries, *signals["infinitive"]]
        ),
        negations=frozenset(signals["negation"]),
        boundaries=frozenset(data["clause_boundaries"]),
    )


def _forms(data: dict[str, Any], loaded: bool, newer: bool) -> Forms:
    """Return the inflections of a profile.

    The words that can be looked up depend on what is loaded. The forward rules, against which a
    guess is checked, always know the locale: the original loads it by the time it needs them.
    """
    built_in = dict(data["verbs"])
    if not newer:
        for verb in data["verbs_not_in_paper"]:
            del built_in[verb]
    dual = data["dual"] if newer else {}
    locale_verbs = data["locale"]["verbs"] if loaded else {}
    locale_nouns = data["locale"]["nouns"] if loaded else {}
    # Of two entries for a word the later one wins; the locale comes before everything.
    verbs = {word: (past, gerund) for word, (past, gerund, _) in dual.items()}
    verbs |= built_in | locale_verbs
    nouns = {word: plural for word, (_, _, plural) in dual.items()}
    nouns |= data["nouns"] | locale_nouns
    return Forms(
        verbs={word: (past, gerund) for word, (past, gerund) in verbs.items()},
        nouns=nouns,
        forward_verbs=built_in | data["locale"]["verbs"],
        forward_nouns=data["nouns"] | data["locale"]["nouns"],
        never_doubled=frozenset(data["never_doubled"]),
        plural_oes=frozenset(data["plural_oes"]),
        c_takes_k=newer,
    )


@cache
def _read() -> dict[str, Any]:
    """Read the committed tables."""
    source = resources.files("lem.scorers") / "data" / "grammar.json"
    data: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return data
