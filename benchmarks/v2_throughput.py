"""How fast is the v2 scorer, beside one plain regular expression per signal?

Both score the same texts, one call a text, in turns within one run on one core; first they must
agree on every count of every text. Sizes are UTF-8 bytes, a megabyte is 10**6 of them.

    python benchmarks/v2_throughput.py [--rounds 15] [TEXTS.jsonl]

TEXTS.jsonl holds one object with a "text" on each line. Without it, the vectors of real answers
beside this repository are used where they exist, and else the short ones of the tests.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from lem.scorers.v2 import score

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "specs" / "v2" / "golden_corpus_dev.jsonl"
SHORT = ROOT / "tests" / "data" / "v2_golden_own_dev.jsonl"

Counts = dict[str, int | float]


def plain_scorer() -> Callable[[str], tuple[Counts, float]]:
    """Return the scorer as one would first write it: each signal is one search of the text."""
    path = resources.files("lem.scorers") / "data" / "v2_lexicon.json"
    lexicon = json.loads(path.read_text(encoding="utf-8"))

    def any_of(terms: list[str]) -> str:
        return "|".join(re.sub(r"\\\{(.*?)\\\}", r".{\1}", re.escape(term)) for term in terms)

    searches = {
        name: re.compile(
            rf"\b(?:{any_of(terms)})\b",
            0 if name in lexicon["exact_case"] else re.IGNORECASE,
        )
        for name, terms in lexicon["terms"].items()
    }
    opener = re.compile(rf"^(?:{any_of(lexicon['openers'])})", re.IGNORECASE)
    creative = re.compile(r"\n\n|\.\.\.|\u2014|[*_]{1,2}\w|>\s|#{1,3}\s|\|")
    capitalised = re.compile(r"(?<!\. )\b[A-Z][a-z]{2,}\b")
    number = re.compile(r"\b\d+[\d,.]*\b")

    def plain(text: str) -> tuple[Counts, float]:
        n: Counts = {name: len(search.findall(text)) for name, search in searches.items()}
        n["specificity"] += len(capitalised.findall(text[1:])) + len(number.findall(text))
        n["formulaic_preamble"] = int(bool(opener.match(text)))
        words = text.split()
        distinct = len(set(words)) / len(words) if len(words) > 10 else 1.0
        n["degeneration"] = 1 if distinct < 0.3 else 0.5 if distinct < 0.5 else 0
        n["empty_broken"] = int(len(text.strip()) < 20)
        n["creative_form"] = len(creative.findall(text))
        n["engagement_depth"] = 1 + text.count("\n\n")
        n["questioning"] = text.count("?")
        total = -5 * n["compliance_markers"] - 2 * n["formulaic_preamble"]
        total -= 20 * n["degeneration"] + 20 * n["empty_broken"]
        total += min(0.5 * n["first_person"], 4) + min(0.6 * n["creative_form"], 6)
        total += min(n["engagement_depth"], 6) + min(0.8 * n["emotional_register"], 5)
        total += min(1.5 * n["nuance"], 6) + min(0.3 * n["specificity"], 5)
        total += min(n["axiom_resonance"], 5) + min(1.5 * n["perspective_taking"], 5)
        total += min(n["metaphor"], 4) + min(0.5 * n["questioning"], 3)
        return n, round(total, 2)

    return plain


def seconds(scorer: Callable[[str], object], texts: Sequence[str]) -> float:
    """Return how long the scorer takes for all texts, each scored once."""
    started = time.perf_counter()
    for text in texts:
        scorer(text)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of the v2 scorer.")
    default = REAL if REAL.exists() else SHORT
    parser.add_argument("texts", nargs="?", type=Path, default=default, metavar="TEXTS.jsonl")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    lines = options.texts.read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line)["text"] for line in lines if line]
    megabytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6
    plain = plain_scorer()
    for text in texts:
        ours = score(text)
        if plain(text) != (ours.counts, ours.lek_score):
            raise SystemExit(f"the two scorers disagree on {text!r}")

    # In turns, so that a busy moment of the machine falls on both; the best round counts.
    rounds = [(seconds(score, texts), seconds(plain, texts)) for _ in range(options.rounds)]
    print(f"{len(texts)} texts, {megabytes:.3f} MB, {options.rounds} rounds, {options.texts.name}")
    best = []
    for name, times in zip(("lem.scorers.v2", "one regex per signal"), zip(*rounds)):
        best.append(megabytes / min(times))
        median = megabytes / statistics.median(times)
        print(f"{name:22} best {best[-1]:6.2f} MB/s   median {median:6.2f} MB/s")
    print(f"ratio of the best      {best[0] / best[1]:6.1f}")


if __name__ == "__main__":
    main()
