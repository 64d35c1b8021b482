"""How fast is the reader that shares prefixes, and what does the gain of an answer tell apart?

    python benchmarks/likelihood.py [--speed-texts 24] [--texts 149] [--threads N]

Speed: whole prompts with all their answers are read both ways, in turns within one run: as
`Reader.gains` does it, and one answer after the other, each of its two readings in a decode of its
own, nothing shared. Neither asks for logits of prompt tokens. Tokens are those that would be
computed without sharing, for both, so that tokens per second and seconds tell the same ratio.
Seconds are wall time. Threads of both ways wait for each other by spinning, so on a busy machine
only the processor time of --threads 1 is worth reading.

Separation: quantiles of the gain in each class of validity set B, in nats per token, and how often
a real answer gains more than a worthless one (AUC). A text that gains more than 1.5 repeats its
prompt; such rows are counted and left out of the AUC.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lem.engines import likelihood
from lem.engines.builtin import NAME, built_in_model
from lem.engines.likelihood import Reader

DATA = Path(__file__).parent / "data" / "validity_b.jsonl"
PARROT = 1.5
"""Nats per token; real answers stay below, as found on other texts."""

Item = dict[str, str]
Pair = tuple[str, str]


def load(most: int) -> list[Item]:
    """Return texts of the set, spread evenly over it, those of one prompt side by side."""
    lines = DATA.read_text(encoding="utf-8").split("\n")
    items: list[Item] = [json.loads(line) for line in lines if line]
    items.sort(key=lambda item: (item["prompt"], item["class"]))
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def by_prompt(items: Sequence[Item], least: int) -> Iterator[list[Item]]:
    """Cut the texts between prompts, into parts of at least so many."""
    part: list[Item] = []
    for _, same in itertools.groupby(items, key=lambda item: item["prompt"]):
        part += same
        if len(part) >= least:
            yield part
            part = []
    if part:
        yield part


def one_by_one(reader: Reader, pairs: Sequence[Pair]) -> list[float | None]:
    """Read every answer twice in sequences of its own, a decode each, and share nothing."""
    found: list[float | None] = [None] * len(pairs)
    for pair in reader._readable(pairs):
        read = []
        for prompt in (pair.prompt, reader._neutral):
            context = reader._ready(likelihood._CELLS)
            tokens = likelihood._prefix(prompt, 0, 1)
            tokens += likelihood._teacher_forced(prompt, pair.answer, 1)
            read.append(sum(context.compute(tokens)))
        found[pair.place] = (read[0] - read[1]) / len(pair.answer)
    return found


def tokens_of(reader: Reader, pairs: Sequence[Pair]) -> int:
    """Return the tokens of all readings, none of them shared."""
    return sum(
        len(prompt) - 1 + len(pair.answer)
        for pair in reader._readable(pairs)
        for prompt in (pair.prompt, reader._neutral)
    )


class Clock:
    """Adds up what calls take."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def time(self, work: Callable[[], list[float | None]]) -> list[float | None]:
        wall, processor = time.perf_counter(), time.process_time()
        found = work()
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor
        return found


def speed(reader: Reader, parts: Sequence[Sequence[Item]]) -> None:
    """Print both speeds and their ratio."""
    clocks = {"shared": Clock(), "one by one": Clock()}
    tokens, apart = 0, 0.0
    for turn, part in enumerate(parts):
        pairs = [(item["prompt"], item["response"]) for item in part]
        ways = {
            "shared": lambda: reader.gains(pairs),  # noqa: B023 (called in this turn)
            "one by one": lambda: one_by_one(reader, pairs),  # noqa: B023
        }
        names = sorted(ways, reverse=bool(turn % 2))  # who goes first alternates
        found = {name: clocks[name].time(ways[name]) for name in names}
        both = zip(found["shared"], found["one by one"])
        apart = max(apart, *(abs(a - b) for a, b in both if a is not None and b is not None))
        tokens += tokens_of(reader, pairs)
    texts = sum(map(len, parts))
    prompts = len({item["prompt"] for part in parts for item in part})
    print(f"{texts} texts to {prompts} prompts, {tokens} tokens without sharing")
    for name, clock in clocks.items():
        print(
            f"{name:11}{clock.wall:7.1f} s  {tokens / clock.wall:6.0f} tokens/s  "
            f"{clock.wall / texts:5.2f} s a text  {clock.processor:6.1f} s of processor",
            flush=True,
        )
    shared, plain = clocks["shared"], clocks["one by one"]
    print(
        f"ratio      {plain.wall / shared.wall:5.2f} ×  "
        f"({plain.processor / shared.processor:.2f} × by processor time); "
        f"gains differ by at most {apart:.4f}\n",
        flush=True,
    )


def separation(reader: Reader, items: Sequence[Item]) -> None:
    """Print the quantiles of every class, and the AUC."""
    gains = reader.gains([(item["prompt"], item["response"]) for item in items])
    of: dict[str, list[float]] = {}
    for item, gain in zip(items, gains):
        if gain is not None:
            of.setdefault(item["class"], []).append(gain)
    print(f"class         n    P10    P25    P50    P75    P90   above {PARROT}")
    for name, values in of.items():
        cuts = statistics.quantiles(values, n=20, method="inclusive")
        cells = "".join(f"{cuts[at]:7.2f}" for at in (1, 4, 9, 14, 17))
        print(f"{name:11}{len(values):4}{cells}{sum(v > PARROT for v in values):8}")
    real, worthless = ([v for v in of[name] if v <= PARROT] for name in ("real", "worthless"))
    auc = statistics.mean((a > b) + (a == b) / 2 for a in real for b in worthless)
    print(
        f"AUC of real against worthless, up to {PARROT}: {auc:.3f} "
        f"({len(real)} and {len(worthless)} texts)"
    )
    print(f"texts without a gain: {sum(gain is None for gain in gains)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--speed-texts", type=int, default=24)
    parser.add_argument("--texts", type=int, default=149, help="texts of the separation")
    parser.add_argument("--threads", type=int, help="default: one for each core")
    options = parser.parse_args()
    reader = Reader(built_in_model(print), options.threads, NAME)
    reader.gains([("Hello", "Hello.")])  # weights are read from the disk before any clock runs
    parts: list[list[Item]] = []
    for part in by_prompt(load(149), 6):
        if sum(map(len, parts)) < options.speed_texts:
            parts.append(part)
    if parts:
        speed(reader, parts)
    if options.texts:
        separation(reader, load(options.texts))
    reader.close()


if __name__ == "__main__":
    main()
