"""How do grammar-wide and the grammar v3 score (profile head) bear what says nothing about a text?

Length, Markdown, quotation marks, repetition, shuffling, invented words; and how fast they are.
Both score the same texts in the same run. Times are processor time of one core, sizes UTF-8 bytes,
a megabyte is 10**6 of them.

    python benchmarks/grammar_wide.py [--rounds 5] [TEXTS.jsonl ...]

TEXTS.jsonl holds one object with a "text" or "response" on each line; of those that name a class
only "real" counts. Without it: benchmarks/data/validity_a.jsonl and the vectors of real answers
beside this repository, where they exist, else the short ones of the tests.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from lem.scorers import grammar, grammar_wide
from lem.scorers.textstats import repetition

ROOT = Path(__file__).parents[1]
TEXTS = (
    ROOT / "benchmarks" / "data" / "validity_a.jsonl",
    ROOT.parent / "shared" / "specs" / "v2" / "golden_corpus_dev.jsonl",
)
SHORT = ROOT / "tests" / "data" / "v2_golden_own_dev.jsonl"

SHORTEST, LONGEST = 30, 800
"""Words of the texts in which length is looked at."""
CUTS = (10, 20, 30, 40, 60, 80, 120, 160, 240, 320)
"""Words of the pieces that long texts are cut into."""

Score = Callable[[str], float | None]

SCORES: dict[str, Score] = {
    "v3 head": lambda text: grammar.score(text).composite,
    "wide": lambda text: grammar_wide.score(text).composite,
}


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file that are texts people would want."""
    lines = path.read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    return [record for record in found if record.get("class", "real") == "real"]


def read(path: Path) -> dict[str, list[str]]:
    """Return the texts of a file by their task, where the file names one (else "")."""
    texts: dict[str, list[str]] = {}
    for record in records(path):
        if {"text", "response"} & record.keys():
            task = record.get("source", "").split("/")[-1].split("_")[0]
            text = record["text"] if "text" in record else record["response"]
            texts.setdefault(task, []).append(text)
    return texts


def rho(score: Score, texts: Sequence[str]) -> float:
    """Return Spearman's rank correlation of a score with the logarithm of the words."""
    found = [(score(text), log(len(text.split()))) for text in texts]
    pairs = [pair for pair in found if pair[0] is not None]
    return float(spearmanr(*zip(*pairs)).statistic)


def loops(text: str) -> bool:
    """Tell whether a fifth of a text says again what it has said."""
    return (repetition(text.lower().split()) or 0.0) > 0.2


def row(name: str, values: Sequence[float | str], width: int = 11) -> None:
    """Print one line of a table."""
    cells = (value if isinstance(value, str) else f"{value:.2f}" for value in values)
    print(f"{name:44}" + "".join(f"{cell:>{width}}" for cell in cells))


# --- length --------------------------------------------------------------------------------------


def length(corpora: dict[str, dict[str, list[str]]]) -> None:
    """Print how the scores go with length, between texts and within them.

    Tasks are told apart, too: they differ in length and in wording, and mixing them measures that.
    Texts that repeat themselves are left out then.
    """
    row(f"rho with log words, {SHORTEST}-{LONGEST} words", list(SCORES))
    longest: list[str] = []
    for name, by_task in corpora.items():
        mixed = [text for texts in by_task.values() for text in texts]
        groups = {"": mixed, **by_task, "no loops": mixed}
        for task, texts in groups.items():
            fitting = [text for text in texts if SHORTEST <= len(text.split()) <= LONGEST]
            if task:
                fitting = [text for text in fitting if not loops(text)]
            if len(fitting) > 2:
                title = f"  {name}{task and ' ' + task}, n = {len(fitting)}"
                row(title, [rho(s, fitting) for s in SCORES.values()])
        longest += [text for text in fitting if len(text.split()) >= CUTS[-1]]
    if not longest:
        return
    pieces = {n: [piece for text in longest for piece in cut(text, n)] for n in CUTS}
    fitting = [piece for n in CUTS if n >= SHORTEST for piece in pieces[n]]
    row(
        f"  pieces of the {len(longest)} longest, n = {len(fitting)}",
        [rho(s, fitting) for s in SCORES.values()],
    )
    print()
    row("mean of the pieces of so many words", list(SCORES))
    for n in CUTS:
        row(f"  {n}", [fmean(s(piece) or 0.0 for piece in pieces[n]) for s in SCORES.values()])


def cut(text: str, size: int) -> list[str]:
    """Return pieces of the first words of a text, as many as fit into the longest cut."""
    words = text.split()
    return [" ".join(words[start : start + size]) for start in range(0, CUTS[-1] - size + 1, size)]


def uplift(paths: Sequence[Path]) -> None:
    """Print what answers add to their prompts, for the texts that have prompts."""
    pairs = [
        (record["prompt"], record["response"])
        for path in paths
        for record in records(path)
        if record.get("prompt") and "response" in record
    ]
    if len(pairs) < 3:
        return
    both = [(grammar.delta(*pair), grammar_wide.delta(*pair), pair[1]) for pair in pairs]
    both = [found for found in both if found[1].uplift is not None]
    deltas: dict[str, Sequence[Any]] = {
        "v3 head": [old for old, _, _ in both],
        "wide": [new for _, new, _ in both],
    }
    sizes = [log(1 + len(response.split())) for _, _, response in both]
    row(f"against the prompt, n = {len(both)}", list(deltas))
    for name in ("input_composite", "uplift", "echo", "sycophantic"):
        row(f"  mean {name}", [fmean(getattr(d, name) for d in ds) for ds in deltas.values()])
    row(
        "  rho of uplift with log words of the answer",
        [float(spearmanr([d.uplift for d in ds], sizes).statistic) for ds in deltas.values()],
    )


# --- what must not matter ------------------------------------------------------------------------


def stripped(text: str) -> str:
    """Return a text without its Markdown, as a reader would type it off."""
    text = re.sub(r"(?ms)^```.*?(?:^```\s*$|\Z)", "", text)
    text = re.sub(r"\[([^]\n]*)\]\([^)\s]*\)", r"\1", text)
    text = re.sub(r"(?m)^[ ]*(?:>[ ]*)*(?:#{1,6}[ ]+|[-*+][ ]+|\d{1,3}[.)][ ]+)?", "", text)
    return re.sub(r"[*`|]|(?<!\w)_|_(?!\w)", "", text)


def dressed(text: str) -> str:
    """Return a text in Markdown: a list of its lines, in bold type."""
    if "```" in text:
        return text  # a list item inside code is code
    lines = (line.strip() for line in text.split("\n"))
    return "\n".join(f"- **{line}**" for line in lines if line)


def quoted(text: str) -> str:
    """Return a text in quotation marks; one that begins with code is left as it is."""
    return text if text.startswith("```") else f"\u201c{text.strip()}\u201d"


def in_one_line(text: str) -> str:
    """Return a text three times in one line; one with code is left as it is."""
    return text if "```" in text else " ".join([text] * 3)


def shuffled(text: str) -> str:
    """Return a text with its words in another order, the same each time."""
    words = text.split()
    random.Random(0).shuffle(words)
    return " ".join(words)


CHANGES: dict[str, Callable[[str], str]] = {
    "Markdown taken away": stripped,
    "Markdown put on": dressed,
    "in quotation marks": quoted,
    "three times, as paragraphs": lambda text: "\n\n".join([text] * 3),
    "three times, as one line": in_one_line,
    "words shuffled": shuffled,
}


def invariance(texts: Sequence[str]) -> None:
    """Print what changes of form do to the scores."""
    titles = [f"{name} {what}" for name in SCORES for what in ("mean |d|", "highest")]
    row("change of the composite", titles, width=18)
    for title, change in CHANGES.items():
        cells: list[float | str] = []
        pairs = [(text, changed) for text in texts if (changed := change(text)) != text]
        for score in SCORES.values():
            differences = [
                (score(after) or 0.0) - (score(before) or 0.0) for before, after in pairs
            ]
            cells += [fmean(map(abs, differences)), max(differences)] if differences else ["-"] * 2
        row(f"  {title}, n = {len(pairs)}", cells, width=18)


SALAD = (
    "blorping snarfed ziggles wumbled frindling plomps gwarped trindling zorps quibbed mungling "
    "flarns drupped sniggling vorbs clanted brindling thwops glimped wazzling porfs scrunded "
    "yimbling krells dworped fuzzling nimps strabbed? "
)
REAL_SALAD = (
    "running teachers carried windows singing rivers planted bridges asking farmers painted "
    "doctors building gardens crossed markets reading captains washed kitchens? drawing candles "
    "burned letters teaching soldiers chased mountains writing hammers folded blankets cooking "
    "engines repaired stories walking prisons visited lawyers? "
)
ODD_TEXTS = {
    "invented words with -ing, -ed, -s, one ?": SALAD * 2,
    "a list of different real words, two ?": REAL_SALAD,
    "Why?": "Why?",
    "Is this?": "Is this?",
    "What is kindness?": "What is kindness?",
    "one good question": "What would you have done if she had asked you before leaving home?",
    "the same 50 times": "What would you have done if she had asked you before leaving home? " * 50,
    '"Running?" 50 times': "Running? " * 50,
    '"the" 200 times': "the " * 200,
    "French": (
        "La gentillesse demande du temps et des efforts. Les personnes que nous aimons nous "
        "disent souvent ce dont elles ont besoin. Savons-nous les entendre ?"
    ),
    "German": (
        "Freundlichkeit braucht Zeit und M\u00fche. Die Menschen, die wir lieben, sagen uns oft, "
        "was sie brauchen. K\u00f6nnen wir ihnen zuh\u00f6ren?"
    ),
}


def oddities() -> None:
    """Print the scores of texts that are made to mislead."""
    row("composite", list(SCORES))
    for name, text in ODD_TEXTS.items():
        found = [score(text) for score in SCORES.values()]
        row(f"  {name}", ["none" if value is None else value for value in found])


# --- speed ---------------------------------------------------------------------------------------


def speed(texts: Sequence[str], rounds: int) -> None:
    """Print megabytes a second, the best of several rounds in turns."""
    megabytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6
    best = dict.fromkeys(SCORES, float("inf"))
    for _ in range(rounds):
        for name, score in SCORES.items():
            started = time.process_time()
            for text in texts:
                score(text)
            best[name] = min(best[name], time.process_time() - started)
    row(f"MB/s on one core, {len(texts)} texts, {megabytes:.3f} MB", list(SCORES))
    row(f"  best of {rounds}", [megabytes / seconds for seconds in best.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description="What moves grammar-wide and grammar v3.")
    parser.add_argument("texts", nargs="*", type=Path, metavar="TEXTS.jsonl")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    paths = options.texts or [path for path in TEXTS if path.exists()] or [SHORT]
    corpora = {path.stem: read(path) for path in paths}
    texts = [text for tasks in corpora.values() for members in tasks.values() for text in members]
    wide = [grammar_wide.score(text) for text in texts]
    foreign = sum(made.composite is None for made in wide)
    print(
        f"{len(texts)} texts from {', '.join(corpora)}; not applicable to {foreign}; "
        f"unknown words: mean {fmean(made.unknown_share for made in wide):.3f}, "
        f"highest {max(made.unknown_share for made in wide):.3f}\n"
    )
    length(corpora)
    print()
    uplift(paths)
    print()
    invariance(texts)
    print()
    oddities()
    print()
    speed(texts, options.rounds)


if __name__ == "__main__":
    main()
