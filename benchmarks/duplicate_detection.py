"""Which probes would be found in training data, by which method, at which false alarm?

python benchmarks/duplicate_detection.py

Three kinds of leak are planted and looked for: the probe word for word inside a longer text, the
probe with every tenth word replaced, and the probe in other words (the 303 built-in rephrasings,
which change the teller, the time or the country). The named alternative is a common run of 13 words
(Brown et al. 2020). False alarms are counted among texts that are about something else.
"""

from __future__ import annotations

import random
import time

import numpy as np

from lem.corpus.contamination import REPHRASED, contamination
from lem.corpus.duplicates import NEAR, duplicates, jaccard
from lem.corpus.rephrase import MEANING
from lem.corpus.semantic import Embedded, Embedder
from lem.corpus.texts import Passage, ngrams, of_lessons, of_probes
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


def main() -> None:
    probes = of_probes(load_probes("P100"))
    originals = {p.id: p for p in probes}
    answers = [le.answer for le in load_lessons("ethics")]
    rephrased = of_probes(load_probes("P100R"))
    planted = {
        "word for word": [
            Passage("t", p.id, "answer", framed(p.text, i, answers), "train", p.id)
            for i, p in enumerate(probes)
        ],
        "each 10th word new": [
            Passage("t", p.id, "answer", framed(reworded(p.text, 10, i), i, answers), "train", p.id)
            for i, p in enumerate(probes)
        ],
        "each 6th word new": [
            Passage("t", p.id, "answer", framed(reworded(p.text, 6, i), i, answers), "train", p.id)
            for i, p in enumerate(probes)
        ],
        "other words": [p._replace(set="t") for p in rephrased],
    }
    embedder = Embedder()
    probe_rows = Embedded(probes, embedder)
    print(f"{'planted':20}{'n':>5}{'8-gram':>9}{'meaning':>9}{'either':>9}{'13-gram':>9}")
    for name, texts in planted.items():
        texts = [Passage(*t) for t in texts]
        table = probe_rows.likeness(Embedded(texts, embedder))
        row = {p.id: i for i, p in enumerate(probes)}
        own = np.array([table[row[t.cluster], i] for i, t in enumerate(texts)])
        quoted = np.array([bool(contamination([t], [originals[t.cluster]]).hits) for t in texts])
        alternative = np.array([run_of(t, originals[t.cluster], 13) for t in texts])
        meaning = own >= REPHRASED
        shares = [quoted, meaning, quoted | meaning, alternative]
        print(f"{name:20}{len(texts):5}" + "".join(f"{s.mean():9.0%}" for s in shares))
        if name == "other words":
            both, other = (quoted | meaning).sum(), alternative.sum()
            kept = own
            print(
                f"  cosine: least {own.min():.2f}, quartiles "
                f"{', '.join(f'{q:.2f}' for q in np.percentile(own, [25, 50, 75]))}"
            )
            print(f"  found {both} against {other} by the 13-gram rule")
    clean = [
        *of_probes(load_probes("G100")),
        *of_probes(load_probes("A60")),
        *of_lessons(load_lessons("ethics")),
        *of_lessons(load_lessons("zen")),
    ]
    table = probe_rows.likeness(Embedded(clean, embedder))
    nearest = table.max(axis=0)
    alarms = sum(1 for i, t in enumerate(clean) if nearest[i] >= REPHRASED)
    grams = len({h.text.name for h in contamination(clean, probes).hits})
    print(
        f"false alarms among {len(clean)} texts about something else: 8-gram {grams}, meaning "
        f"(cosine >= {REPHRASED}) {alarms}; their nearest probe: median {np.median(nearest):.2f}, "
        f"greatest {nearest.max():.2f}"
    )
    pairs = table.ravel()
    print(
        f"pairs of a probe and an unrelated text at or above {MEANING} (the least a rephrasing "
        f"must have): {np.mean(pairs >= MEANING):.2%}; rephrasings: {np.mean(kept >= MEANING):.0%}"
    )

    print(f"\nnear duplicates (Jaccard >= {NEAR}) among {len(probes)} probes and a copy of each")
    print(f"{'each n-th word new':20}{'found':>7}{'true at the limit':>19}")
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
        print(f"{every:20}{len(near):7}{exact:19}")

    many = [
        Passage("t", f"{p.id}{k}", "prompt", reworded(p.text, 2, k), "train", f"{p.id}{k}")
        for k in range(20)
        for p in probes
    ]
    start = time.perf_counter()
    found = len(duplicates(many)[1])
    hashed = time.perf_counter() - start
    start = time.perf_counter()
    sets = [frozenset(ngrams(p.words, 3)) for p in many]
    brute = sum(jaccard(a, b) >= NEAR for i, a in enumerate(sets) for b in sets[:i])
    slow = time.perf_counter() - start
    print(
        f"\n{len(many)} texts: MinHash {hashed:.1f} s ({found} pairs), every pair compared "
        f"{slow:.1f} s ({brute} pairs): ratio {slow / hashed:.1f}"
    )


if __name__ == "__main__":
    main()
