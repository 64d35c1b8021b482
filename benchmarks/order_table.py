"""Count the pairs of word slots behind the order part of the `reasoning` scorer.

    python benchmarks/order_table.py [--write]

The texts are 100 answers of SmolLM2-135M-Instruct to everyday questions (temperature 0.7, at most
260 tokens) and the real, good short and harmful answers of validity sets A and B; set C stays out.
It prints how well the gains of half the texts tell the other half from their own words shuffled.
With --write the table of all texts replaces src/lem/scorers/data/order_pairs.json. Sentences a text
has said before are left out: a model in a loop would otherwise teach the table its one sentence.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
from collections import Counter
from pathlib import Path

from lem.scorers.reasoning.order import table_of
from lem.scorers.reasoning.reading import slots_of

DATA = Path(__file__).parent / "data"
TABLE = Path(__file__).parents[1] / "src" / "lem" / "scorers" / "data" / "order_pairs.json"


def count(texts: list[str]) -> dict[str, dict[str, int]]:
    pairs: dict[str, Counter[str]] = {}
    for text in texts:
        said: set[tuple[str, ...]] = set()
        for sentence in sentences(slots_of(text)):
            if sentence not in said:
                said.add(sentence)
                for left, right in zip((".", *sentence), sentence):
                    pairs.setdefault(left, Counter())[right] += 1
    return {left: dict(sorted(rights.items())) for left, rights in sorted(pairs.items())}


def sentences(slots: list[str]) -> list[tuple[str, ...]]:
    found, start = [], 0
    for i, slot in enumerate(slots):
        if slot in ".?":
            found.append(tuple(slots[start : i + 1]))
            start = i + 1
    return found


def check(texts: list[str]) -> None:
    half = len(texts) // 2
    table = table_of(count(texts[:half]))
    unknown = table.slots["??"]

    def mean_gain(words: list[str]) -> float:
        index = [table.slots.get(slot, unknown) for slot in [".", *slots_of(" ".join(words))]]
        return statistics.mean(table.gains[a][b] for a, b in itertools.pairwise(index))

    rng = random.Random(0)
    print("words   texts   AUC     real P5 / P50     shuffled P50 / P95")
    for n in (8, 15, 25, 50, 100):
        real, mixed = [], []
        for text in texts[half:]:
            words = text.split()
            if len(words) < n:
                continue
            start = rng.randrange(len(words) - n + 1)
            words = words[start : start + n]
            real.append(mean_gain(words))
            rng.shuffle(words)
            mixed.append(mean_gain(words))
        auc = statistics.mean((a > b) + (a == b) / 2 for a in real for b in mixed)
        r, s = (statistics.quantiles(x, n=20) for x in (real, mixed))
        print(
            f"{n:5} {len(real):7}   {auc:.4f}  {r[0]:+.2f} / {r[9]:+.2f}"
            f"     {s[9]:+.2f} / {s[18]:+.2f}"
        )


def texts() -> list[str]:
    found = []
    for name in ("order_answers", "validity_a", "validity_b"):
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            if item.get("class") != "worthless":
                found.append(item["response"])
    random.Random(0).shuffle(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = texts()
    check(found)
    pairs = count(found)
    total = sum(sum(rights.values()) for rights in pairs.values())
    note = f"{total:,} slot pairs in {len(found)} answers (benchmarks/order_table.py)"
    print(note)
    if options.write:
        table = json.dumps({"source": note, "pairs": pairs}, indent=0) + "\n"
        TABLE.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
