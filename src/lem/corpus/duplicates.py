"""Exact and near duplicates: the same text, or nearly the same words in the same order.

Near is measured by the Jaccard index of the sets of three-word sequences: what two texts share of
what either has. Candidates are found with MinHash signatures and locality-sensitive hashing
(datasketch; Broder 1997, Indyk & Motwani 1998) and then measured exactly, so a reported number
is never an estimate. About one pair in fourteen at the limit is missed, one
well above it hardly ever. Of a crowd of texts that are all near each other (a template filled in
thousands of times) each is reported with `_CROWD` others, not with all.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from datasketch import MinHash, MinHashLSH

from lem.corpus.texts import Passage, ngrams

SHINGLE = 3
"""Words a sequence. Changing one word changes three sequences, so rewording shows quickly."""

NEAR = 0.3
"""From this Jaccard index on two passages are near duplicates. Every eighth word replaced leaves
about 0.45, every fifth about 0.25; passages on the same subject written apart share under 0.05."""

_PERMUTATIONS = 128
_CROWD = 10
_CANDIDATE = 0.2  # below NEAR, so that the hashing misses next to nothing above it


class Pair(NamedTuple):
    """Two passages that are too much alike."""

    first: Passage
    second: Passage
    likeness: float
    """1 for exact duplicates; else the Jaccard index, or the cosine for semantic ones."""


def duplicates(passages: Sequence[Passage], near: float = NEAR) -> tuple[list[Pair], list[Pair]]:
    """Find the exact and the near duplicates among passages.

    The two sides of one lesson are never compared with each other.

    Args:
        passages: of one or of several sets.
        near: the Jaccard index from which on a pair is reported, over 0 and up to 1.

    Returns:
        Exact pairs, each copy with the first of its kind; and near pairs, the likest first.
    """
    exact: list[Pair] = []
    first: dict[tuple[str, ...], Passage] = {}
    for passage in passages:
        original = first.setdefault(_key(passage), passage)
        if original is not passage and not _same_lesson(original, passage):
            exact.append(Pair(original, passage, 1.0))
    return exact, _near(list(first.values()), near)


def _key(passage: Passage) -> tuple[str, ...]:
    """What exact copies have in common: the words. Texts of fewer than three may say what they say
    in digits and signs ("What is 2 + 3?", or an emoji), so there these count too."""
    if len(passage.words) >= SHINGLE:
        return tuple(passage.words)
    signs = (c for c in passage.text if unicodedata.category(c)[0] in "NS" or c in "*/")
    return (*passage.words, *signs)


def _near(passages: Sequence[Passage], limit: float) -> list[Pair]:
    shingles = [frozenset(ngrams(p.words, SHINGLE)) for p in passages]
    index = MinHashLSH(threshold=min(_CANDIDATE, limit), num_perm=_PERMUTATIONS)
    found = []
    for at, mine in enumerate(shingles):
        if not mine:
            continue  # fewer than three words: only an exact copy can be told
        signature = MinHash(num_perm=_PERMUTATIONS)
        signature.update_batch([" ".join(s).encode() for s in sorted(mine)])
        near = []
        for other in index.query(signature):
            likeness = jaccard(mine, shingles[other])
            if likeness >= limit and not _same_lesson(passages[other], passages[at]):
                near.append(Pair(passages[other], passages[at], likeness))
        near.sort(key=lambda p: -p.likeness)
        found += near[:_CROWD]
        if len(near) < _CROWD:  # else what comes later and is near to it is near to those, too
            index.insert(at, signature)
    return sorted(found, key=lambda p: (-p.likeness, p.first.name, p.second.name))


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """What two sets share of what either has, 0 to 1."""
    common = len(a & b)
    return common / (len(a) + len(b) - common) if common else 0.0


def _same_lesson(a: Passage, b: Passage) -> bool:
    return a.set == b.set and a.id == b.id


def shared_runs(passages: Sequence[Passage], n: int) -> list[tuple[str, Passage, Passage]]:
    """The sequences of n words that stand in two passages; the first one that a passage shares with
    the first passage that has it.

    Args:
        passages: to be compared, each with all others.
        n: words.
    """
    places: dict[tuple[str, ...], int] = {}
    found: dict[tuple[int, int], str] = {}
    for number, passage in enumerate(passages):
        for gram in ngrams(passage.words, n):
            other = places.setdefault(gram, number)
            if other != number and not _same_lesson(passages[other], passage):
                found.setdefault((other, number), " ".join(gram))
    return [(text, passages[a], passages[b]) for (a, b), text in found.items()]


def groups(pairs: Sequence[Pair]) -> dict[tuple[str, str], tuple[str, str]]:
    """Connected duplicates: (set, id) -> the (set, id) that stands for its group."""
    parent: dict[tuple[str, str], tuple[str, str]] = defaultdict()

    def root(key: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for pair in pairs:
        a, b = root((pair.first.set, pair.first.id)), root((pair.second.set, pair.second.id))
        parent[max(a, b)] = min(a, b)
    return {key: root(key) for key in list(parent)}
