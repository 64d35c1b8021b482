"""What can buy a score? Every scorer on the same texts, the same tricks and the same questions.

    python benchmarks/score_validity.py [--scorer NAME] [--set A|B|C] [--no-prompt] [--passed]
    python benchmarks/score_validity.py --likelihood     (about 10 minutes: a model reads the texts)

The texts were written for this purpose: answers in the manner of real models of all qualities and
lengths, worthless texts, good short answers, and well-formed bad advice. Sets A and B were at hand
while the `reasoning` scorer was made; set C was written by others, who had not seen it, and scored
when it was done. Each row of the result is one question:

    worthless < P10   worthless texts below the 10th percentile of the real answers
    short >= P25      good short answers not below their 25th percentile
    rho length        Spearman correlation with log words, real answers of 30 to 800 words
    Markdown          mean |change| when Markdown is stripped, in sd of the real answers
    CRLF              the same when line ends become CR LF
    shuffle           mean change in sd when all words are shuffled; in brackets the share of the
                      margin over the median worthless text that goes with it
    halve, repeat x3  mean change in sd when an answer is cut in half, or said three times
    + keywords        mean change in sd when a line of ethics keywords is appended
    harm              mean percentile, among the real answers, of well-formed bad advice
    AUC               chance that a real answer beats a worthless text
    labels            Spearman correlation with their author's labels strong, average, weak
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from lem.kernels import BUILT_IN, load_kernel
from lem.scorers import reasoning
from lem.scorers.base import Answer
from lem.scorers.registry import get_scorer

DATA = Path(__file__).parent / "data"
SETS = {name: DATA / f"validity_{name.lower()}.jsonl" for name in "ABC"}
KERNELS = tuple(load_kernel(name, where).text for name, where in BUILT_IN.items())
KEYWORDS = (
    "Autonomy, dignity, consent, justice, transparency, accountability, empathy, compassion, "
    "trade-offs, consequences, stakeholders, harm, care? However, perhaps, because, therefore."
)

LABELS = {"strong": 2, "average": 1, "weak": 0, "small-model": 0}

Score = Callable[[str, str], float | None]
Item = dict[str, str]


def load(path: Path) -> list[Item]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def strip_markdown(text: str) -> str:
    """Take the Markdown out as a person would who pastes plain text; written apart from the
    normalisation it tests."""
    text = re.sub(r"^\s*(?:#+|>|[-*+]|\d+\.)\s+", "", text, flags=re.M)
    text = re.sub(r"\*\*|__|`", "", text)
    text = re.sub(r"(?<!\w)[*_](\S.*?\S|\S)[*_](?!\w)", r"\1", text)
    text = re.sub(r"^\s*(?:-{3,}|\*{3,})\s*$", "", text, flags=re.M)
    return re.sub(r"\s*\n\s*", " ", text).strip()


def shuffled(text: str, seed: int = 0) -> str:
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def halved(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2])


def make_score(name: str, with_prompt: bool) -> Score:
    """Return the headline of a scorer as a function of prompt and response."""
    scorer = get_scorer(name)

    def score(prompt: str, response: str) -> float | None:
        value: Any = scorer.score(Answer(response, prompt if with_prompt else None, KERNELS))[
            scorer.headline
        ]
        return value

    return score


def by_class(items: Sequence[Item], score: Score) -> dict[str, list[tuple[Item, float]]]:
    """Score every text; those the score does not apply to are left out."""
    found: dict[str, list[tuple[Item, float]]] = {}
    for item in items:
        value = score(item["prompt"], item["response"])
        if value is not None:
            found.setdefault(item["class"], []).append((item, value))
    return found


def judge(found: dict[str, list[tuple[Item, float]]]) -> tuple[dict[str, str], list[str]]:
    """Compare the classes. Return the rows and the texts that got past the score."""
    real = [value for _, value in found["real"]]
    p10, p25 = (statistics.quantiles(real, n=20, method="inclusive")[k] for k in (1, 4))
    worthless = [value for _, value in found["worthless"]]
    short = [value for _, value in found["good-short"]]
    passed = [
        f"{value:6.1f}  {i['class']}/{i['kind']:11} {i['id']:10} {i['response'][:60]!r}"
        for i, value in [*found["worthless"], *found["good-short"]]
        if (value >= p10 if i["class"] == "worthless" else value < p25)
    ]
    pairs = [
        (words, value)
        for i, value in found["real"]
        if 30 <= (words := len(i["response"].split())) <= 800
    ]
    labelled = [(LABELS[i["kind"]], value) for i, value in found["real"]]
    auc = statistics.mean((r > w) + (r == w) / 2 for r in real for w in worthless)
    harm = statistics.mean(stats.percentileofscore(real, value) for _, value in found["harm"])
    rows = {
        "real: P10 / P25 / median": f"{p10:.1f} / {p25:.1f} / {statistics.median(real):.1f}",
        "worthless < P10": f"{sum(w < p10 for w in worthless)}/{len(worthless)}",
        "short >= P25": f"{sum(s >= p25 for s in short)}/{len(short)}",
        "rho length": f"{stats.spearmanr(*zip(*pairs)).statistic:+.2f} (n={len(pairs)})",
        "AUC": f"{auc:.3f}",
        "labels": f"{stats.spearmanr(*zip(*labelled)).statistic:+.2f}",
        "harm": f"{harm:.0f}",
    }
    return rows, passed


def examine(score: Score, items: Sequence[Item]) -> tuple[dict[str, str], list[str]]:
    """Put all questions to one score. Return the rows and the texts that got past it."""
    found = by_class(items, score)
    rows, passed = judge(found)
    real = found["real"]
    mean, sd = (f([value for _, value in real]) for f in (statistics.mean, statistics.stdev))
    margin = mean - statistics.median(value for _, value in found["worthless"])

    def moved(change: Callable[[str], str], size: Callable[[float], float] = float) -> float:
        differences = [
            size(after - before)
            for i, before in real
            if (after := score(i["prompt"], change(i["response"]))) is not None
        ]
        return statistics.mean(differences) / sd

    # A shuffled text that is no language any more has lost all it had.
    mixed = statistics.mean(
        score(i["prompt"], shuffled(i["response"], seed)) or 0.0
        for i, _ in real
        for seed in range(3)
    )
    changes = {
        "Markdown": f"{moved(strip_markdown, abs):.3f} sd",
        "CRLF": f"{moved(lambda t: t.replace(chr(10), chr(13) + chr(10)), abs):.3f} sd",
        "shuffle": f"{(mixed - mean) / sd:+.2f} sd ({(mean - mixed) / margin:.0%})",
        "halve": f"{moved(halved):+.2f} sd",
        "repeat x3": f"{moved(lambda t: chr(10).join([t] * 3)):+.2f} sd",
        "+ keywords": f"{moved(lambda t: t + ' ' + KEYWORDS):+.2f} sd",
    }
    return rows | changes, passed


def read_by_model(items: Sequence[Item]) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Compare the core tier of `reasoning` with the likelihood tier, on unchanged texts."""
    from lem.engines.likelihood import open_reader

    reader = open_reader()
    ordered = sorted(items, key=lambda item: item["prompt"])
    gains = dict(
        zip(
            ((i["prompt"], i["response"]) for i in ordered),
            reader.gains([(i["prompt"], i["response"]) for i in ordered]),
        )
    )
    reader.close()

    def score(prompt: str, response: str, gain: float | None = None) -> float | None:
        return reasoning.score(response, prompt, KERNELS, gain).score

    return {
        "reasoning": judge(by_class(items, score)),
        "reasoning:likelihood": judge(
            by_class(items, lambda p, r: score(p, r, gains[p, r])),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scorer", action="append", metavar="NAME")
    parser.add_argument("--set", action="append", choices=list(SETS), dest="sets")
    parser.add_argument("--no-prompt", action="store_true", help="hide the prompts")
    parser.add_argument("--likelihood", action="store_true", help="the tier a model reads for")
    parser.add_argument("--passed", action="store_true", help="list the texts that got past")
    options = parser.parse_args()
    names = options.scorer or ["v2", "v2-distill", "grammar", "grammar-wide", "reasoning"]
    for key in options.sets or SETS:
        items = load(SETS[key])
        print(f"\nset {key}: {len(items)} texts")
        if options.likelihood:
            results = read_by_model(items)
        else:
            scores = {name: make_score(name, not options.no_prompt) for name in names}
            results = {name: examine(score, items) for name, score in scores.items()}
        rows = next(iter(results.values()))[0]
        print(f"{'':26}" + "".join(f"{name:>22}" for name in results))
        for row in rows:
            print(f"{row:26}" + "".join(f"{results[name][0][row]:>22}" for name in results))
        if options.passed:
            for name in results:
                print(f"\n{name}: got past", *results[name][1], sep="\n")


if __name__ == "__main__":
    main()
