"""Word order: does a text run the way English runs, or are these words in no order?

Every word is put into a slot: a function word is a slot of its own, an open-class word shares one
with all words of its classes and ending, an end or a pause has one. For each pair of neighbours
the gain is

    log P(right | left) / P(right)

in nats: above 0 where the right slot is likelier after this left one than anywhere, below 0 where
it is less likely. Over ordinary prose the gains average clearly above 0; over the same words
shuffled, below. The pairs were counted on ordinary answers by `benchmarks/order_table.py`; the
probabilities are smoothed towards the right slot's own frequency (Dirichlet prior of `_PRIOR`
pairs), so that a pair never seen after a common word counts as unlikely and one after a rare word
as unknown.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from typing import NamedTuple

_PRIOR = 8.0

END, QUESTION, PAUSE, NUMBER, NAME, UNKNOWN = ".", "?", ",", "#", "Name", "??"
"""The slots that are not words: ends of sentences, marks within them, figures, capitalised words
and other words that English does not list."""


class OrderTable(NamedTuple):
    """Gains by slot index."""

    slots: dict[str, int]
    """Slot -> place in `gains`. A slot that is not in the table is that of `UNKNOWN`."""
    gains: list[list[float]]
    """gains[left][right], nats."""


@cache
def order_table() -> OrderTable:
    """Read the pair counts and turn them into gains, once."""
    source = resources.files("lem.scorers").joinpath("data", "order_pairs.json")
    return table_of(json.loads(source.read_text(encoding="utf-8"))["pairs"])


def table_of(pairs: dict[str, dict[str, int]]) -> OrderTable:
    """Turn counts, left slot -> right slot -> pairs, into gains."""
    slots = sorted({*pairs, *(right for rights in pairs.values() for right in rights)})
    index = {slot: i for i, slot in enumerate(slots)}
    rights = dict.fromkeys(slots, 1.0)  # one pair each, so that none is impossible
    for counts in pairs.values():
        for right, count in counts.items():
            rights[right] += count
    total = sum(rights.values())
    chance = [rights[slot] / total for slot in slots]
    gains = []
    for left in slots:
        counts = pairs.get(left, {})
        seen = sum(counts.values())
        gains.append(
            [
                math.log((counts.get(right, 0) + _PRIOR * p) / (seen + _PRIOR) / p)
                for right, p in zip(slots, chance)
            ]
        )
    return OrderTable(index, gains)
