"""Contamination: is a probe in the training data, word for word, in part, or in other words?

A model that was trained on a probe, or on an answer to it, shows on that probe what it was told,
not how it reasons. Word for word is measured by containment: the share of the probe's sequences
of eight words that stand in a training text, and the longest run in common. With some words
changed it is found by its sequences of three words, which need not be next to each other. In other
words is measured by semantic likeness, where an embedding model is at hand.
`benchmarks/duplicate_detection.py` counts what each of them finds.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from lem.corpus.duplicates import SHINGLE
from lem.corpus.semantic import Embedded, Embedder
from lem.corpus.texts import Passage, ngrams
from lem.scorers.overlap import overlap

N = 8
"""Words a sequence. Brown et al. (2020) used 13 on web text, where common phrases are long; in
passages of 40 to 90 words eight in a row are a quotation (no two of the built-in probes that are
about different things share as many)."""

VERBATIM = 0.5
"""From this containment on the probe as a whole stands in the training text."""

REWORDED = 0.25
"""From this share of its three-word sequences on, near each other, a probe stands in a text with
words changed."""

FEWEST = 5
"""Three-word sequences that a reworded probe must share: fewer ("what would you do if") are common
property, though of a short probe they are more than the share asks for."""

NEARBY = 3
"""They must stand within this many times the words of the probe: a book has each somewhere."""

REPHRASED = 0.6
"""From this cosine on a training text counts as the probe in other words. Of the 300 built-in
rephrasings of dilemmas 55 % are above it, of 281,600 pairs of texts about different
things none."""

_LONG = 20  # letters

Kind = Literal["verbatim", "partial", "reworded", "rephrased"]


class Hit(NamedTuple):
    """A probe that is in the training data."""

    probe: Passage
    text: Passage
    kind: Kind
    containment: float
    """Share of the probe's sequences of `N` words that stand in the text, 0 to 1; of a reworded
    one that of its sequences of three words."""
    longest_run: int
    """In words."""
    likeness: float | None
    """Cosine of the two; None where it was not measured."""


class Contamination(NamedTuple):
    """What was found, and how near the rest comes."""

    hits: list[Hit]
    """For each contaminated probe the worst training text, the worst probe first."""
    probes: int
    texts: int
    likest: Hit | None
    """The training text that is semantically nearest to any probe; None without embeddings."""


def contamination(
    training: Sequence[Passage],
    probes: Sequence[Passage],
    embedder: Embedder | None = None,
    rephrased: float = REPHRASED,
) -> Contamination:
    """Look for probes in training texts.

    Args:
        training: questions and answers of lessons, or any other texts.
        probes: of the evaluation and held-out sets.
        embedder: None: only quotations are looked for.
        rephrased: the cosine from which on a text counts as the probe in other words.
    """
    found: dict[tuple[int, int], tuple[float, int]] = _quotations(training, probes)
    worst: dict[int, Hit] = {}
    where: dict[int, int] = {}  # probe -> the text of its worst hit
    for (number, text), (share, run) in found.items():
        kind: Kind = "verbatim" if share >= VERBATIM else "partial"
        hit = Hit(probes[number], training[text], kind, share, run, None)
        known = worst.get(number)
        if known is None or (share, run) > (known.containment, known.longest_run):
            worst[number], where[number] = hit, text
    for (number, text), share in _short_sequences(training, probes).items():
        known = worst.get(number)
        if known is None or (known.kind == "reworded" and share > known.containment):
            run = overlap(training[text].text, probes[number].text).longest_run
            worst[number] = Hit(probes[number], training[text], "reworded", share, run, None)
            where[number] = text
    likest = None
    if embedder is not None and training and probes:
        rows = Embedded(training, embedder)
        table = Embedded(probes, embedder).likeness(rows)
        for number, probe in enumerate(probes):
            at = int(table[number].argmax())
            cosine = float(table[number, at])
            share, run = found.get((number, at), (0.0, 0))
            hit = Hit(probe, training[at], "rephrased", share, run, cosine)
            if likest is None or cosine > (likest.likeness or 0.0):
                likest = hit
            if number in worst:
                likeness = float(table[number, where[number]])
                worst[number] = worst[number]._replace(likeness=likeness)
            elif cosine >= rephrased:
                worst[number] = hit
    order = {"verbatim": 0, "partial": 1, "reworded": 2, "rephrased": 3}
    hits = sorted(
        worst.values(),
        key=lambda h: (order[h.kind], -h.containment, -(h.likeness or 0.0), h.probe.name),
    )
    return Contamination(hits, len(probes), len(training), likest)


def _quotations(
    training: Iterable[Passage], probes: Sequence[Passage]
) -> dict[tuple[int, int], tuple[float, int]]:
    """(probe, text) -> (containment, longest run) of all pairs that share `N` words in a row.

    A probe shorter than that is found where it stands as a whole, if it has three words or is long
    (in scripts without spaces, such as Thai, a sentence is one word).
    """
    index: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    short: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, probe in enumerate(probes):
        if len(probe.words) < N and (len(probe.words) >= 3 or len("".join(probe.words)) >= _LONG):
            short[tuple(probe.words)].append(number)
        for at, gram in enumerate(ngrams(probe.words, N)):
            index[gram].append((number, at))
    found: dict[tuple[int, int], tuple[float, int]] = {}
    for text_number, text in enumerate(training):
        hits: dict[int, set[int]] = defaultdict(set)
        runs: dict[int, int] = defaultdict(int)
        previous: dict[tuple[int, int], int] = {}  # (probe, place) of the last gram -> run so far
        for gram in ngrams(text.words, N):
            current: dict[tuple[int, int], int] = {}
            for number, at in index.get(gram, ()):
                hits[number].add(at)
                current[number, at] = previous.get((number, at - 1), N - 1) + 1
                runs[number] = max(runs[number], current[number, at])
            previous = current
        for number, places in hits.items():
            share = len(places) / (len(probes[number].words) - N + 1)
            found[number, text_number] = share, runs[number]
        for size in {len(words) for words in short}:
            for gram in ngrams(text.words, size):
                for number in short.get(gram, ()):
                    found[number, text_number] = 1.0, size
    return found


def _short_sequences(
    training: Iterable[Passage], probes: Sequence[Passage]
) -> dict[tuple[int, int], float]:
    """(probe, text) -> share of the probe's distinct three-word sequences that the text has in one
    place, for probes of `N` words or more."""
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sequences: list[set[tuple[str, ...]]] = []
    for number, probe in enumerate(probes):
        grams = set(ngrams(probe.words, SHINGLE)) if len(probe.words) >= N else set()
        sequences.append(grams)
        for gram in grams:
            index[gram].append(number)
    found: dict[tuple[int, int], float] = {}
    for text_number, text in enumerate(training):
        counts: Counter[int] = Counter()
        for gram in set(ngrams(text.words, SHINGLE)):
            counts.update(index.get(gram, ()))
        for number, count in counts.items():
            grams = sequences[number]
            enough = max(FEWEST, REWORDED * len(grams))
            if count >= enough:
                count = _together(text.words, grams, NEARBY * len(probes[number].words))
                if count >= enough:
                    found[number, text_number] = count / len(grams)
    return found


def _together(words: list[str], grams: set[tuple[str, ...]], width: int) -> int:
    """How many of the sequences stand in the `width` words that have most of them."""
    most = 0
    inside: Counter[tuple[str, ...]] = Counter()
    places: deque[tuple[int, tuple[str, ...]]] = deque()
    for at, gram in enumerate(ngrams(words, SHINGLE)):
        if gram in grams:
            places.append((at, gram))
            inside[gram] += 1
            while places[0][0] <= at - width:
                _, old = places.popleft()
                inside[old] -= 1
                if not inside[old]:
                    del inside[old]
            most = max(most, len(inside))
    return most
