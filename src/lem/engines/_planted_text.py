"""Prose of a wanted v2 score and length, out of a list of words (data/planted.json).

What brings how many points is known by construction; the scorer is not asked. No signal of v2 is
taken beyond its cap, and of the words well over half are distinct.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import random
from importlib import resources
from typing import Any, NamedTuple

_WORDS_A_PARAGRAPH = 70
_MOST_PARAGRAPHS = 6
#: A small phrase brings this, and so does a number, and the capital of every paragraph but the
#: first; of these together v2 counts 16.
_SMALL, _MOST_SMALL = 0.3, 16
#: What a paragraph break brings: a paragraph, a form, a capital.
_BREAK = 1.0 + 0.6 + _SMALL

_LARGE = 0.8
"""Points from which a phrase is used before smaller ones, so that few words are enough."""


class _Bank(NamedTuple):
    large: list[tuple[float, str]]
    medium: list[tuple[float, str]]
    tiny: list[str]
    words: dict[str, list[str]]


@functools.cache
def _bank() -> _Bank:
    source = resources.files("lem.engines") / "data" / "planted.json"
    data: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    phrases = [(p["points"], text) for p in data.pop("phrases") for text in p["texts"]]
    return _Bank(
        large=[p for p in phrases if p[0] >= _LARGE],
        medium=[p for p in phrases if _SMALL < p[0] < _LARGE],
        tiny=[text for points, text in phrases if points == _SMALL],
        words=data,
    )


def write(points: float, words: int, rng: random.Random) -> str:
    """Prose of about this v2 score (within 0.15 where the score can be had at all) and of exactly
    this many words (more where the phrases need them)."""
    paragraphs = max(1, min(_MOST_PARAGRAPHS, round(words / _WORDS_A_PARAGRAPH)))
    layout = 1.0 + _BREAK * (paragraphs - 1)
    phrases = _phrases(points - layout, _MOST_SMALL - (paragraphs - 1), rng)
    rng.shuffle(phrases)
    draw = _Words(rng)
    each = _phrases_a_sentence(phrases, words)
    sentences = [draw.sentence(phrases[i : i + each]) for i in range(0, len(phrases), each)]
    left = words - sum(s.count(" ") + 1 for s in sentences)
    while left >= 5:
        size = left if left <= 10 else min(rng.randint(6, 10), left - 5)
        sentences.append(draw.plain(size))
        left -= size
    rng.shuffle(sentences)
    cuts = [round(len(sentences) * i / paragraphs) for i in range(paragraphs + 1)]
    return "\n\n".join(" ".join(sentences[a:b]) for a, b in itertools.pairwise(cuts))


def _phrases(points: float, small: int, rng: random.Random) -> list[str]:
    """Phrases that bring this many points in all."""
    bank = _bank()
    large = rng.sample(bank.large, len(bank.large))
    rest = rng.sample(bank.medium, len(bank.medium))
    numbers = rng.sample(range(2, 99), small - len(bank.tiny))
    tiny = [*bank.tiny, *(f"for {n} days" for n in numbers)]
    rng.shuffle(tiny)
    chosen = []
    reserve = rng.uniform(0.0, 1.5)  # so that small ones are seen in every arm
    for value, text in [*large, *rest]:
        if points - reserve >= value:
            chosen.append(text)
            points -= value
    count = max(0, min(len(tiny), round(points / _SMALL)))
    return [*chosen, *tiny[:count]]


def _phrases_a_sentence(phrases: list[str], words: int) -> int:
    """How many phrases a sentence must take for all of them to fit; four at most."""
    own = sum(p.count(" ") + 1 for p in phrases)
    room = max(0, words - own) // 5
    return next((n for n in (1, 2, 3) if math.ceil(len(phrases) / n) <= room), 4)


class _Words:
    """Sentences of words that are not used again before all were."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._left: dict[str, list[str]] = {}

    def sentence(self, tails: list[str]) -> str:
        """A sentence that ends with these phrases."""
        who, did, what = self._one("nouns"), self._one("verbs"), self._one("nouns")
        return f"The {who} {did} the {what} {', '.join(tails)}."

    def plain(self, size: int) -> str:
        """A sentence of 5 to 10 words."""
        size -= 5
        place = size >= 3 and (size > 4 or self._rng.random() < 0.7)
        size -= 3 if place else 0
        ours = [[self._one("adjectives") for _ in range(n)] for n in self._shares(size)]
        who, did, what = self._one("nouns"), self._one("verbs"), self._one("nouns")
        parts = ["The", *ours[0], who, did, "the", *ours[1], what]
        if place:
            parts += [self._rng.choice(_bank().words["places"]), "the", self._one("nouns")]
        return " ".join(parts) + "."

    def _shares(self, size: int) -> tuple[int, int]:
        first = self._rng.randint(size // 2, size - size // 2)
        return first, size - first

    def _one(self, kind: str) -> str:
        left = self._left.get(kind)
        if not left:
            left = list(_bank().words[kind])
            self._rng.shuffle(left)
            self._left[kind] = left
        return left.pop()
