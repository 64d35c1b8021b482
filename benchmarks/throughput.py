"""How fast is every scorer on one core, on how much text, in how much memory?

    python benchmarks/throughput.py [--megabytes 100] [--scorer NAME ...]

Streams so many megabytes (10**6 bytes of UTF-8) of answers through each scorer, one answer a call
with its prompt and the built-in kernels, as `lem score` does, and prints megabytes a second of CPU
time, the slowdown of one single text of a megabyte (its seconds over its share of the stream's) and
how much the peak memory grew over the second half of the stream. The answers are those of the
validity sets, cut and joined at random sentence ends so that no two are alike. `v2` is the
yardstick of the last column: its speed over the scorer's in the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from lem.kernels import BUILT_IN, load_kernel
from lem.scorers.base import Answer
from lem.scorers.registry import get_scorer

DATA = Path(__file__).parent / "data"
KERNELS = tuple(load_kernel(name, where).text for name, where in BUILT_IN.items())
NAMES = ("v2", "v2-distill", "grammar:head", "grammar:paper", "grammar-wide", "reasoning")


def answers(size: int, seed: int = 0) -> Iterator[Answer]:
    """Yield answers of 1 to 30 sentences until their text has so many bytes."""
    items = [
        json.loads(line) for path in sorted(DATA.glob("validity_?.jsonl")) for line in path.open()
    ]
    items = [item for item in items if item["class"] == "real"]
    sentences = [s for item in items for s in re.split(r"(?<=[.!?])(?=\s)", item["response"])]
    prompts = sorted({item["prompt"] for item in items})
    rng = random.Random(seed)
    while size > 0:
        start = rng.randrange(len(sentences) - 30)
        text = "".join(sentences[start : start + rng.randrange(1, 31)]).strip()
        size -= len(text.encode())
        yield Answer(text, rng.choice(prompts), KERNELS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--scorer", action="append", metavar="NAME")
    options = parser.parse_args()
    print(f"{options.megabytes} MB an entry; one process, one thread")
    print("scorer          MB/s   1 MB text, times its share   memory +MB   v2's speed / its speed")
    yardstick = None
    for name in options.scorer or NAMES:
        scorer = get_scorer(name)
        spent, done, peak = 0.0, 0, 0
        for answer in answers(options.megabytes * 10**6):
            start = time.process_time()
            scorer.score(answer)
            spent += time.process_time() - start
            done += len(answer.text.encode())
            if not peak and done > options.megabytes * 5 * 10**5:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1000
        speed = done / 1e6 / spent
        big = " ".join(answer.text for answer in answers(10**6, seed=1))
        start = time.process_time()
        scorer.score(Answer(big, answer.prompt, KERNELS))
        share = (time.process_time() - start) * speed / (len(big.encode()) / 1e6)
        yardstick = yardstick or speed
        print(f"{name:14} {speed:5.2f}   {share:12.2f} {grown:25.1f} {yardstick / speed:22.1f}")


if __name__ == "__main__":
    main()
