"""From measures to the score.

    score = 100 * engaged * quality * limits

`engaged` asks whether the text answers this prompt at all or would fit any: a weighted sum of
measures, cut to 0..1. Its weights are a ridge regression on real, good short and worthless answers
(sets A and B; benchmarks/reasoning_weights.py fits them again), rounded; that of `crowded`, which
hardly any text has, and the shares within `quality` were set by hand. `quality` grades
what is engaged: concrete rather than generic, argued rather than asserted, in its own words rather
than in stock phrases. Each limit is 1 for ordinary text and falls to 0 for text that nobody wrote
to be read: words in no order, repeated, quoted, or not English.
"""

from __future__ import annotations

from typing import NamedTuple

from lem.scorers.reasoning.measures import Measures

#: Measure -> (typical value, points for each 1.0 above it). A typical text has `_TYPICAL` points.
_ENGAGED = {
    "linked": (0.8, 5.0),
    "new": (0.65, 7.0),
    "function": (0.53, 7.5),
    "vague": (0.44, -0.7),
    "stock": (0.0, -7.0),
    "capitals": (0.0, -4.0),
    "questions": (0.0, -2.5),
    "crowded": (0.0, -2.5),
    "abstract": (0.0, -2.0),
}
_TYPICAL = 2.0

#: Measure -> (value at which the limit is 0, value from which it is 1). Chosen so that no real or
#: good short answer of sets A and B is held back by more than a tenth, dialect apart.
_LIMITS = {
    "order": (-0.25, 0.12),
    "repeated": (0.65, 0.25),
    "fresh": (0.12, 0.3),
    "quoted": (0.6, 0.15),
    "echoed": (0.8, 0.4),
    "unlisted": (0.35, 0.2),
    "prose": (0.05, 0.4),
    "words": (0.0, 3.0),
}


# With a language model's reading (see `Answer.gain`): below the first range a text follows from its
# prompt no better than from another one; in the second it follows well enough to count as linked
# without sharing a word; beyond the third it is the prompt again.
_FOLLOWS = (0.1, 0.25)
_LINKS, _LINKED_BY_GAIN = (0.3, 0.5), 0.8
_PARROTS = (2.2, 1.2)


class Grade(NamedTuple):
    """The parts of a score, each 0 to 1 except the score itself."""

    score: float
    """0 to 100."""
    engaged: float
    specific: float
    argued: float
    plain: float
    limits: dict[str, float]


def grade(measures: Measures) -> Grade:
    """Grade one answer."""
    values = measures._asdict()
    gain = measures.gain
    if gain is not None:
        values["linked"] = max(measures.linked, _LINKED_BY_GAIN * _ramp(gain, *_LINKS))
    points = _TYPICAL + sum(
        weight * (values[name] - typical) for name, (typical, weight) in _ENGAGED.items()
    )
    engaged = _ramp(points, 0.0, 1.0)
    specific = _ramp(measures.vague, 0.72, 0.32)
    argued = _ramp(measures.argument, 0.8, 3.2)
    own = max(0.0, 1 - 10 * measures.stock - 4 * measures.abstract)
    limits = {name: _ramp(values[name], *ends) for name, ends in _LIMITS.items()}
    if gain is not None:
        limits["gain"] = min(_ramp(gain, *_FOLLOWS), _ramp(gain, *_PARROTS))
    score = 100 * engaged * (0.1 + 0.4 * specific + 0.25 * argued + 0.25 * own)
    for limit in limits.values():
        score *= limit
    return Grade(score, engaged, specific, argued, own, limits)


def _ramp(value: float, zero: float, one: float) -> float:
    """Return 0 up to one end, 1 beyond the other, and a straight line between."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))
