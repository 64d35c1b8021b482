"""Verb or noun? What the neighbours of an ambiguous word say, and how much each counts."""

from __future__ import annotations

from typing import NamedTuple

# Points for the verb or for the noun. Source: go-i18n, package reversal, revision 3836295.
_DETERMINER = 0.35
_AUXILIARY = 0.25
_NEGATION = 0.05
_FOLLOWING = 0.15
_FIRST = 0.10
_SATURATION = 0.10
_ECHO = 0.03
_PRIOR = 0.02

_WEAK = 0.10  # with fewer points in all, the two confidences below are given
_WINNER, _LOSER = 0.55, 0.45


class Settled(NamedTuple):
    """An ambiguous word as settled: what it is, and the confidence of both readings."""

    kind: str
    verb: float
    noun: float


def weigh(
    *,
    after_determiner: bool,
    after_auxiliary: bool,
    after_negation: bool,
    before_noun: bool,
    before_verb: bool,
    first: bool,
    verb_in_clause: bool,
    plural_elsewhere: bool,
    inflected_elsewhere: bool,
) -> Settled:
    """Settle one ambiguous word.

    Args:
        after_determiner: the token before it is a determiner (`the`, `my`).
        after_auxiliary: the token before it is an auxiliary or `to`.
        after_negation: `not`, `never` or `no longer` stands before it.
        before_noun: the token behind it is an article, a noun or a determiner.
        before_verb: the token behind it is a verb.
        first: it is the first token of the text.
        verb_in_clause: its clause has a sure verb.
        plural_elsewhere: the text has the plural of the same noun.
        inflected_elsewhere: the text has a past or gerund of the same verb.
    """
    verb = noun = 0.0
    if after_determiner:
        noun += _DETERMINER
    if after_auxiliary:
        verb += _AUXILIARY
    if after_negation:
        verb += _NEGATION
    if before_noun:
        verb += _FOLLOWING
    elif before_verb:
        noun += _FOLLOWING
    if first:
        verb += _FIRST
    if verb_in_clause:
        noun += _SATURATION
    if plural_elsewhere:
        verb += _ECHO
    if inflected_elsewhere:
        noun += _ECHO
    verb += _PRIOR
    total = verb + noun
    if total < _WEAK:
        if verb >= noun:
            return Settled("verb", _WINNER, _LOSER)
        # The original gives the winning noun the smaller number; so do we.
        return Settled("noun", _WINNER, _LOSER)
    return Settled("verb" if verb >= noun else "noun", verb / total, noun / total)
