"""Which probes would be found in training data, by which method, at which false alarm?

python benchmarks/duplicate_detection.py

Leaks are planted inside longer texts and looked for: the probe word for word, with some words
replaced, and in other words (the 303 built-in rephrasings, which change the teller, the time or the
country). "words" is `lem`'s search for common word sequences, "meaning" its cosine of embeddings.
The named alternative is a common run of 13 words (Brown et al. 2020). False alarms are counted
among texts that are about something else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np

from lem.corpus.contamination import REPHRASED, contamination
from lem.corpus.duplicates import NEAR, duplicates, jaccard
from lem.corpus.rephrase import MEANING
from lem.corpus.semantic import Embedded, Embedder
from lem.corpus.texts import Passage, ngrams, of_lessons, of_probes
from lem.engines.fingerprint import cache_folder
from lem.lessons import BUILT_IN as LESSONS
from lem.lessons import load_lessons
from lem.probes import load_probes


def reworded(text: str, every: int, seed: int) -> str:
    """The text with every so many-th word replaced by one that occurs nowhere."""
    words = text.split()
    draw = random.Random(seed)
    for at in range(draw.randrange(every), len(words), every):
        words[at] = f"xq{chr(97 + at % 26)}{chr(97 + seed % 26)}"
    return " ".join(words)


def framed(text: str, seed: int, lessons: list[str]) -> str:
    """The text in the middle of an answer from the lessons."""
    around = lessons[seed % len(lessons)].split()
    return " ".join(around[:60]) + "\n\n" + text + "\n\n" + " ".join(around[60:])


def run_of(text: Passage, probe: Passage, n: int) -> bool:
    """Whether n words in a row are common to both: the alternative."""
    return not set(ngrams(text.words, n)).isdisjoint(ngrams(probe.words, n))


def planted_in(probes: list[Passage], change: Callable[[str, int], str]) -> list[Passage]:
    """Each probe, changed, in the middle of an answer."""
    answers = [le.answer for le in load_lessons("ethics")]
    return [
        Passage("t", p.id, "answer", framed(change(p.text, i), i, answers), "train", p.cluster)
        for i, p in enumerate(probes)
    ]


def leaks(probes: list[Passage], rephrased: list[Passage], embedder: Embedder) -> None:
    """What is found of leaks, by each method."""
    originals = {p.id: p for p in probes}
    row = {p.id: i for i, p in enumerate(probes)}
    rows = Embedded(probes, embedder)
    planted = {
        "word for word": planted_in(probes, lambda t, i: t),
        "each 10th word new": planted_in(probes, lambda t, i: reworded(t, 10, i)),
        "each 6th word new": planted_in(probes, lambda t, i: reworded(t, 6, i)),
        "rephrased, alone": [p._replace(set="t") for p in rephrased],
        "rephrased, inside": planted_in(rephrased, lambda t, i: t),
    }
    print(f"{'planted':20}{'n':>5}{'words':>9}{'meaning':>9}{'either':>9}{'13 words':>10}")
    for name, texts in planted.items():
        texts = [Passage(*t) for t in texts]
        table = rows.likeness(Embedded(texts, embedder))
        own = np.array([table[row[t.cluster], i] for i, t in enumerate(texts)])
        quoted = np.array([bool(contamination([t], [originals[t.cluster]]).hits) for t in texts])
        alternative = np.array([run_of(t, originals[t.cluster], 13) for t in texts])
        meaning = own >= REPHRASED
        shares = [quoted, meaning, quoted | meaning]
        line = "".join(f"{s.mean():9.0%}" for s in shares)
        print(f"{name:20}{len(texts):5}{line}{alternative.mean():10.0%}")


def false_alarms(probes: list[Passage], rephrased: list[Passage], embedder: Embedder) -> None:
    """What the methods say of texts that are about something else."""
    clean = of_probes([*load_probes("G100"), *load_probes("A60")])
    for name in LESSONS:
        clean += of_lessons(load_lessons(name))
    mine = [*probes, *rephrased]
    table = Embedded(mine, embedder).likeness(Embedded(clean, embedder))
    words = len({h.text.name for h in contamination(clean, mine).hits})
    print(
        f"false alarms among {len(clean)} texts about something else, against {len(mine)} probes: "
        f"words {words},\n  meaning {(table.max(axis=0) >= REPHRASED).sum()} (cosine >= "
        f"{REPHRASED}); greatest of {table.size:,} cosines {table.max():.2f}"
    )
    alike = Embedded(probes, embedder).likeness(Embedded(rephrased, embedder))
    same = np.array([[p.id == r.cluster for r in rephrased] for p in probes])
    own, others = alike[same], alike[~same]
    quartiles = ", ".join(f"{q:.2f}" for q in np.percentile(own, [0, 25, 50, 75, 100]))
    print(f"rephrasings to their originals: cosine {quartiles} (quartiles)")
    for limit in (MEANING, REPHRASED):
        print(
            f"  at {limit} or above: {np.mean(own >= limit):.0%} of {own.size} rephrasings, "
            f"{np.mean(others >= limit):.2%} of {others.size:,} pairs of other probes"
        )


def near_copies(probes: list[Passage]) -> None:
    """What MinHash finds of copies with words replaced, and what it costs."""
    print(f"near duplicates (Jaccard >= {NEAR}) among {len(probes)} probes and a copy of each")
    print(f"{'each n-th word new':20}{'found':>7}{'measured exactly':>18}")
    for every in (20, 12, 8, 6, 5, 4):
        copies = [
            Passage("t", p.id, "prompt", reworded(p.text, every, i), "train", p.id)
            for i, p in enumerate(probes)
        ]
        near = {x.second.id for x in duplicates([*probes, *copies])[1] if x.first.id == x.second.id}
        exact = sum(
            jaccard(frozenset(ngrams(a.words, 3)), frozenset(ngrams(b.words, 3))) >= NEAR
            for a, b in zip(probes, copies)
        )
        print(f"{every:20}{len(near):7}{exact:18}")
    many = [
        Passage("t", f"{p.id}{k}", "prompt", reworded(p.text, 2, k), "train", f"{p.id}{k}")
        for k in range(40)
        for p in probes
    ]
    start = time.perf_counter()
    duplicates(many)
    hashed = time.perf_counter() - start
    start = time.perf_counter()
    sets = [frozenset(ngrams(p.words, 3)) for p in many]
    for at, mine in enumerate(sets):
        for other in sets[:at]:
            jaccard(mine, other)
    slow = time.perf_counter() - start
    print(
        f"{len(many)} texts: MinHash {hashed:.1f} s, every pair compared {slow:.1f} s: "
        f"ratio {slow / hashed:.1f}"
    )


def main() -> None:
    probes = [p for p in of_probes(load_probes("P100")) if not p.id.startswith("CONTROL")]
    rephrased = [p for p in of_probes(load_probes("P100R")) if not p.id.startswith("CONTROL")]
    embedder = Embedder(cache=cache_folder() / "embeddings")
    leaks(probes, rephrased, embedder)
    print()
    false_alarms(probes, rephrased, embedder)
    print()
    near_copies(probes)


if __name__ == "__main__":
    main()
