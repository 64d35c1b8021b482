"""How fast is the grammar scorer, beside reading the same texts token by token?

Both score the same texts, one call a text, in turns within one run on one core; first they must
agree on every score. With `score+delta` every text is asked for both, against one prompt, so its
imprint is made once. Texts of 0.3 to 4 KB are mixed from the paragraphs of real ones. Times are
those of the processor, sizes are UTF-8 bytes, a megabyte is 10**6 of them.

    python benchmarks/grammar_throughput.py [--megabytes 5] [--rounds 3] [TEXTS.jsonl]

TEXTS.jsonl holds one object with a "text" on each line. Without it, the vectors of real answers
beside this repository are used where they exist, and else the short ones of the tests.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from itertools import accumulate
from pathlib import Path

from lem.scorers.grammar import (
    PROFILES,
    GrammarScore,
    delta,
    imprint,
    imprint_tokens,
    score,
    score_imprint,
    tokenise,
)

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "specs" / "grammar" / "golden_corpus_dev.jsonl"
SHORT = ROOT / "tests" / "data" / "grammar_golden_own_dev.jsonl"

PROMPT = "A friend asks you to keep a secret that could hurt someone else. What do you do, and why?"
PLAIN_MEGABYTES = 1.0  # enough for the slow one


def plain(text: str, profile: str) -> GrammarScore:
    """Score a text as one would first write it: make its tokens, then count them."""
    return score_imprint(imprint_tokens(tokenise(text, profile), profile))


def size(text: str) -> float:
    """Return megabytes of UTF-8."""
    return len(text.encode("utf-8", "surrogatepass")) / 1e6


def paragraphs(path: Path) -> list[str]:
    """Return the paragraphs of a file of texts, each once."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    texts = [row.get("text") or row["response"] for row in rows]
    return sorted({part for text in texts for part in text.split("\n\n") if part.strip()})


def mixed(parts: Sequence[str], megabytes: float) -> Iterator[str]:
    """Yield texts of 300 to 4,000 characters, always the same ones."""
    pick = random.Random(20)
    done = 0.0
    while done < megabytes:
        length = pick.randint(300, 4000)
        text = ""
        while len(text) < length:
            text += pick.choice(parts) + "\n\n"
        text = text[:length]
        done += size(text)
        yield text


def seconds(scorer: Callable[[str], object], texts: Sequence[str]) -> float:
    """Return how long the scorer takes for all texts, each scored once."""
    started = time.process_time()
    for text in texts:
        scorer(text)
    return time.process_time() - started


def close(ours: GrammarScore, other: GrammarScore) -> bool:
    """Tell whether two scores agree to 1e-9; the order of additions may differ."""
    pairs = zip(astuple(ours)[1:], astuple(other)[1:])
    return all(abs(a - b) <= 1e-9 for a, b in pairs)


def measure(profile: str, texts: Sequence[str], sample: Sequence[str], rounds: int) -> None:
    """Print one line for a profile."""
    long = "\n\n".join(texts)[:1_000_000]
    for text in [*sample, long]:
        if not close(score(text, profile), plain(text, profile)):
            raise SystemExit(f"the two ways disagree on {text!r}")
    alone: list[float] = []
    both: list[float] = []
    one: list[float] = []
    slow: list[float] = []
    for _ in range(rounds):  # in turns, so that a busy moment of the machine falls on all
        alone.append(seconds(lambda text: score(text, profile), texts))
        both.append(
            seconds(lambda text: (score(text, profile), delta(PROMPT, text, profile)), texts)
        )
        one.append(seconds(lambda text: score_imprint(imprint(text, profile)), [long]))
        slow.append(seconds(lambda text: plain(text, profile), sample))
    total = sum(map(size, texts))
    rate = [total / min(alone), total / min(both), size(long) / min(one)]
    base = sum(map(size, sample)) / min(slow)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"{profile:14}{rate[0]:8.1f}{rate[1]:14.1f}{rate[2]:12.1f}{base:16.2f}"
        f"{rate[0] / base:8.1f}{memory:12.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of the grammar scorer.")
    default = REAL if REAL.exists() else SHORT
    parser.add_argument("texts", nargs="?", type=Path, default=default, metavar="TEXTS.jsonl")
    parser.add_argument("--megabytes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    parts = paragraphs(options.texts)
    texts = list(mixed(parts, options.megabytes))
    few = sum(done <= PLAIN_MEGABYTES for done in accumulate(map(size, texts)))
    print(f"{len(texts)} texts, {options.megabytes:g} MB mixed from {options.texts.name}")
    print(
        f"best of {options.rounds} rounds, MB/s; memory is the peak of the process, texts included"
    )
    print("profile          score   score+delta  1 MB text  token by token   ratio   memory MB")
    for profile in PROFILES:
        measure(profile, texts, texts[: max(few, 1)], options.rounds)


if __name__ == "__main__":
    main()
