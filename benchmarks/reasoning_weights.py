"""Where the weights of the `reasoning` scorer come from, and what its parts say of quality.

    python benchmarks/reasoning_weights.py

Fits the weights of `engaged` by ridge regression on the texts of sets A and B and prints them
beside those in use, which are rounded; `crowded` was set by hand, since hardly any text has it.
The target is 0 for worthless texts (counted twice), 1.7, 2.4 and 3 for weak, average and strong
real answers, 3 for good short ones and 2.3 for well-formed bad advice; texts that a limit holds
back anyway are left out. One unit of `engaged` is 0.8 of the target.

Then, for each set: the rank correlation of every measure, and of the share of text in which each
move occurs, with the author's labels strong, average and weak; and how far the limits hold back
answers that are not worthless.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from lem.scorers.prose import clean
from lem.scorers.reasoning import formula
from lem.scorers.reasoning.lexicon import lexicon
from lem.scorers.reasoning.measures import Measures, measure, prompt_of
from lem.scorers.reasoning.reading import read, runs_of, stretches, terms_of
from score_validity import KERNELS, LABELS, SETS, Item, load

RIDGE = 8.0
UNIT = 0.8
TARGET = {"worthless": 0.0, "good-short": 3.0, "harm": 2.3}
REAL = (1.7, 2.4, 3.0)


class Measured(NamedTuple):
    item: Item
    measures: Measures
    moves: dict[str, float]
    limit: float


def measured(name: str) -> Iterator[Measured]:
    """Measure the texts of a set."""
    for item in load(SETS[name]):
        reading = read(clean(item["response"]))
        if not reading.words:
            continue
        terms = terms_of(reading.words)
        found = measure(reading, terms, prompt_of(item["prompt"]), runs_of(*KERNELS))
        moves = dict.fromkeys(lexicon().moves, 0.0)
        for start, end in stretches(reading):
            bits = int(np.bitwise_or.reduce(terms.moves[start:end]))
            for i, move in enumerate(moves):
                moves[move] += (bits >> i & 1) * (end - start) / len(reading.words)
        limit = float(np.prod(list(formula.grade(found).limits.values())))
        yield Measured(item, found, moves, limit)


def target(item: Item) -> float:
    return REAL[LABELS[item["kind"]]] if item["class"] == "real" else TARGET[item["class"]]


def fit(texts: list[Measured]) -> dict[str, float]:
    """Return the weight of each measure in units of `engaged`."""
    kept = [text for text in texts if text.limit > 0.3]
    names = list(formula._ENGAGED)
    x = np.array([[getattr(text.measures, name) for name in names] for text in kept])
    y = np.array([target(text.item) for text in kept])
    counted = np.array([2.0 if text.item["class"] == "worthless" else 1.0 for text in kept])
    scale = x.std(axis=0) + 1e-9
    z = np.column_stack([(x - x.mean(axis=0)) / scale, np.ones(len(x))])
    penalty = np.diag([RIDGE] * len(names) + [0.0])
    weights = np.linalg.solve(z.T @ (z * counted[:, None]) + penalty, z.T @ (counted * y))
    return dict(zip(names, weights[:-1] / scale / UNIT))


def main() -> None:
    sets = {name: list(measured(name)) for name in SETS}
    fitted = fit(sets["A"] + sets["B"])
    print("measure       fitted   in use")
    for name, (_, weight) in formula._ENGAGED.items():
        print(f"{name:12} {fitted[name]:+7.1f} {weight:+8.1f}")
    print("\nrank correlation with the labels of the real answers")
    print(f"{'':12}" + "".join(f"{name:>8}" for name in sets))
    real = {name: [t for t in texts if t.item["class"] == "real"] for name, texts in sets.items()}
    labels = {name: [LABELS[t.item["kind"]] for t in texts] for name, texts in real.items()}

    def row(title: str, values: dict[str, list[float]]) -> None:
        cells = [
            f"{stats.spearmanr(labels[name], v).statistic:+8.2f}"
            if len(set(v)) > 1
            else f"{'–':>8}"
            for name, v in values.items()
        ]
        print(f"{title:12}" + "".join(cells))

    for name in ("vague", "stock", "abstract", "linked", "new", "argument", "order"):
        row(name, {key: [getattr(t.measures, name) for t in texts] for key, texts in real.items()})
    for move in lexicon().moves:
        row(move, {key: [t.moves[move] for t in texts] for key, texts in real.items()})
    print("\nnot worthless, and held back by more than a tenth")
    for name, texts in sets.items():
        held = [t for t in texts if t.item["class"] != "worthless" and t.limit < 0.9]
        print(f"{name}: " + (", ".join(f"{t.item['id']} {t.limit:.2f}" for t in held) or "none"))


if __name__ == "__main__":
    main()
