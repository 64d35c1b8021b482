"""The v2 score: published vectors, oddities of the rules, and a slow reading of them."""

import json
import random
import re
import sys
import time
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lem.scorers import v2
from lem.scorers.v2 import COUNTS, LABEL, VERSION, V2Score, evidence, score

ROOT = Path(__file__).parents[1]
OWN_VECTORS = ROOT / "tests" / "data" / "v2_golden_own_dev.jsonl"
# Texts of third parties and the specification live beside the repository, not in it.
SPECS = ROOT.parent / "shared" / "specs" / "v2"


def lexicon() -> dict[str, Any]:
    """Return the committed term tables."""
    path = resources.files("lem.scorers") / "data" / "v2_lexicon.json"
    return json.loads(path.read_text(encoding="utf-8"))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def outside(name: str) -> Path:
    """Return a file of the specification, or skip the test where it is not at hand."""
    path = SPECS / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout (looked in ../shared/specs/v2)")
    return path


# --- published vectors ---------------------------------------------------------------------------


def mismatches(vectors: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the vectors that the scorer does not reproduce."""
    wrong = []
    for vector in vectors:
        result = score(vector["text"])
        same_sum = abs(result.lek_score - vector["lek_score"]) <= 1e-9
        if result.counts != vector["counts"] or not same_sum:
            wrong.append(vector["id"])
    return wrong


def test_own_vectors() -> None:
    vectors = read(OWN_VECTORS)
    assert len(vectors) == 383
    assert mismatches(vectors) == []


def test_corpus_vectors() -> None:
    vectors = read(outside("golden_corpus_dev.jsonl"))
    assert len(vectors) == 242
    assert mismatches(vectors) == []


def test_terms_and_weights_are_those_of_the_specification() -> None:
    spec = json.loads(outside("lexicon.json").read_text(encoding="utf-8"))

    def written(term: str | list[Any]) -> str:
        parts = [term] if isinstance(term, str) else term
        return "".join(p if isinstance(p, str) else "{{{},{}}}".format(*p["gap"]) for p in parts)

    groups = spec["penalties"] | spec["signals"]
    groups["specificity"]["terms"] = groups["specificity"]["parts"]["phrases"]["terms"]
    wanted = {name: [*map(written, g["terms"])] for name, g in groups.items() if "terms" in g}
    ours = lexicon()
    assert ours["openers"] == wanted.pop("formulaic_preamble")
    assert ours["terms"] == wanted
    assert ours["exact_case"] == ["first_person"]
    for name, group in spec["signals"].items():
        assert v2._WEIGHTS[name] == (group["points_each"], group["cap"])


# --- the record ----------------------------------------------------------------------------------


def test_record() -> None:
    result = score("Why not?")
    assert isinstance(result, V2Score)
    assert tuple(result.counts) == COUNTS
    assert list(result.heuristic()) == [*COUNTS, "lek_score"]
    assert result.heuristic()["lek_score"] == result.lek_score
    assert VERSION == lexicon()["version"] == "v2/1"
    assert "ethic" not in LABEL
    with pytest.raises(AttributeError):
        result.lek_score = 1.0  # type: ignore[misc]


def test_limits() -> None:
    assert score("").lek_score == -19.0
    everything = (
        "I was. " * 8
        + "|" * 10
        + "\n\n" * 5
        + "love " * 7
        + "however " * 4
        + "7 " * 17
        + "consent " * 5
        + "they might " * 4
        + "akin to " * 4
        + "?" * 6
        + " ".join(f"word{n}" for n in range(60))
    )
    assert score(everything).lek_score == 49.0
    assert score(everything * 2).lek_score <= 49.0
    assert score("I cannot say. " * 50).lek_score < -200


# --- oddities of the rules -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "text", "count"),
    [
        ("axiom_resonance", "accountable transparency irreversible autonomous custodians", 0),
        ("axiom_resonance", "accountab transparen irreversib power asymmetr", 4),
        ("metaphor", "analogy metaphors analogous", 0),
        ("metaphor", "an analog metaphor", 2),
        ("nuance", "dilemmas, tensions, trade-offs, nuance", 0),
        ("nuance", "trade-off", 1),
        ("perspective_taking", "stakeholders", 0),
        ("specificity", "e.g. this, e.g., that", 0),
        ("specificity", "e.g.this", 1),
        ("first_person", "My me. I, I'd I'll I  see", 0),
        ("first_person", "World War I was", 1),
        ("first_person", "I am, I'm so, I've got my own, gave me two", 5),
        ("first_person", "I\u2019m so", 0),
        ("perspective_taking", "from my perspective", 0),
        ("perspective_taking", "FROM OUR PERSPECTIVE", 1),
        ("nuance", "both A and B", 0),
        ("nuance", "both one and two", 1),
        ("nuance", "both on\ne and two", 0),
        ("nuance", "both on\re and two", 1),
        ("axiom_resonance", "right to bodily autonomy and consent", 2),
        ("axiom_resonance", "turn right to go home", 1),
        ("compliance_markers", "I cannot, we cannot", 1),
        ("compliance_markers", "beyond my programming", 1),
        ("compliance_markers", "I'm not able to", 1),
        ("compliance_markers", "I CAN'T, \u0131 cannot, \u0130 cannot, I \u017fhould not", 4),
        ("compliance_markers", "I can\u2019t", 0),
        ("formulaic_preamble", "Surely", 1),
        ("formulaic_preamble", "of COURSEwork", 1),
        ("formulaic_preamble", " Sure", 0),
        ("formulaic_preamble", "\ufeffSure", 0),
        ("formulaic_preamble", "Yes.\nSure", 0),
        ("formulaic_preamble", "Okay, sure", 0),
        ("degeneration", "a " * 10, 0),
        ("degeneration", "a " * 11, 1),
        ("degeneration", "a b c d e f " + "g " * 14, 0.5),  # 7 of 20
        ("degeneration", "a b c d e " + "f " * 14 + "f", 0.5),  # 6 of 20: exactly 0.3
        ("degeneration", "a b c d e " + "a " * 15, 1),  # 5 of 20
        ("degeneration", "a b c d e f a b c d e f", 0),  # 6 of 12: exactly 0.5
        ("degeneration", "x" * 5000, 0),
        ("empty_broken", " \u00a0" + "x" * 19 + "\n", 1),
        ("empty_broken", "x" * 20, 0),
        ("empty_broken", "\u200b" * 20, 0),
        ("engagement_depth", "a\r\n\r\nb", 1),
        ("engagement_depth", "a\n\n\nb", 2),
        ("engagement_depth", "a\n\n\n\nb", 3),
        ("creative_form", "\u2026 \u2013 -- * x - x 1. ** ", 0),
        ("creative_form", "a*b snake_case C# -> <b> |x| **bold**", 8),
        ("creative_form", "> \n\n", 2),
        ("creative_form", ">\n\n", 1),
        ("creative_form", "___", 1),
        ("creative_form", "_____", 2),
        ("creative_form", "*__a", 1),
        ("creative_form", "# a ## b ### c #### d", 4),
        ("specificity", "Hello", 0),
        ("specificity", "HEllo", 1),
        ("specificity", "a Cat. Dog.  Emu! Fox? It McDonald USA Zo\u00eb Don't", 4),
        ("specificity", "1,000 3.14 1.2.3 4. \u0664\u0662", 5),
        ("specificity", "10MB 2nd v2 1_000 10\u00b2", 0),
        ("emotional_register", "lovely x\u0301love love\u0301 _love love_ loved", 2),
        ("metaphor", "the picture shows. picture, picture", 1),
        ("questioning", "Why? \uff1f \u037e ??", 3),
    ],
)
def test_oddity(signal: str, text: str, count: float) -> None:
    assert score(text).counts[signal] == count


@pytest.mark.parametrize(
    ("signal", "before", "shortest", "longest", "after"),
    [
        ("nuance", "both ", 3, 30, " and"),
        ("nuance", "while ", 3, 30, " also"),
        ("specificity", "consider ", 5, 40, " where"),
        ("axiom_resonance", "right to ", 3, 20, ""),
        ("perspective_taking", "from ", 3, 20, " perspective"),
        ("metaphor", "think of ", 3, 30, " as"),
    ],
)
def test_length_of_gaps(signal: str, before: str, shortest: int, longest: int, after: str) -> None:
    lengths = range(60)
    counts = [score(before + "x" * length + after).counts[signal] for length in lengths]
    assert counts == [int(shortest <= length <= longest) for length in lengths]


# --- evidence ------------------------------------------------------------------------------------


def test_evidence_shows_the_text_that_counted() -> None:
    text = "Sure. However, I trust Ada: both you and I have 1,000 reasons, e.g.one?\n\nConsent"
    shown = {name: [text[a:b] for a, b in spans] for name, spans in evidence(text).items() if spans}
    assert shown == {
        "formulaic_preamble": ["Sure"],
        "first_person": ["I ", "I "],
        "creative_form": ["\n\n"],
        "engagement_depth": ["\n\n"],
        "emotional_register": ["trust"],
        "nuance": ["However", "both you and"],
        "specificity": ["Ada", "1,000", "e.g.", "Consent"],
        "axiom_resonance": ["Consent"],
        "questioning": ["?"],
    }


def test_evidence_of_layout_is_as_long_as_the_rules_allow() -> None:
    assert evidence("#### a **b _c >\n\n")["creative_form"] == [(1, 5), (7, 10), (11, 13), (14, 16)]


def test_evidence_agrees_with_the_counts() -> None:
    for text in [vector["text"] for vector in read(OWN_VECTORS)] + list(random_texts(200, seed=3)):
        counts = score(text).counts
        shown = evidence(text)
        assert tuple(shown) == COUNTS
        assert shown["degeneration"] == shown["empty_broken"] == []
        for name in set(COUNTS) - {"degeneration", "empty_broken"}:
            spans = shown[name]
            assert len(spans) == counts[name] - (name == "engagement_depth")
            assert spans == sorted(spans)
            assert all(0 <= start < end <= len(text) for start, end in spans)
            if name != "specificity":
                assert all(a[1] <= b[0] for a, b in pairwise(spans))


# --- against the rules read literally ------------------------------------------------------------


def slow_pattern(terms: list[str], flags: int) -> re.Pattern[str]:
    """Return one expression for all the terms of a signal, boundaries on both sides."""
    pieces = []
    for term in terms:
        literals = [re.escape(literal) for literal in re.split(r"\{\d+,\d+\}", term)]
        gaps = [f"[^\\n]{gap}" for gap in re.findall(r"\{\d+,\d+\}", term)]
        pieces.append("".join(a + b for a, b in zip(literals, [*gaps, ""])))
    return re.compile(r"\b(?:" + "|".join(pieces) + r")\b", flags)


def slow_patterns(step: int) -> dict[str, re.Pattern[str]]:
    """Return the expressions of all signals, with the terms in one order (1) or the other (-1)."""
    return {
        name: slow_pattern(terms[::step], 0 if name == "first_person" else re.IGNORECASE)
        for name, terms in lexicon()["terms"].items()
    }


SLOW = slow_patterns(1)
SLOW_REVERSED = slow_patterns(-1)


def slow_counts(text: str) -> dict[str, int | float]:
    """Count by the specification, word for word, with no regard for time."""
    found = {name: len(pattern.findall(text)) for name, pattern in SLOW.items()}
    assert found == {name: len(pattern.findall(text)) for name, pattern in SLOW_REVERSED.items()}
    found["specificity"] += len(re.findall(r"(?<!\. )\b[A-Z][a-z]{2,}\b", text[1:]))
    found["specificity"] += len(re.findall(r"\b\d+[\d,.]*\b", text))
    words = re.findall(r"\S+", text)
    ratio = len(set(words)) / len(words) if len(words) > 10 else 1
    start = "|".join(map(re.escape, lexicon()["openers"]))
    return found | {
        "formulaic_preamble": len(re.findall(rf"\A(?:{start})", text, re.IGNORECASE)),
        "degeneration": 1 if ratio < 0.3 else 0.5 if ratio < 0.5 else 0,
        "empty_broken": int(len(re.sub(r"\A\s+|\s+\Z", "", text)) < 20),
        "creative_form": len(re.findall(r"\n\n|\.\.\.|\u2014|[*_]{1,2}\w|>\s|#{1,3}\s|\|", text)),
        "engagement_depth": 1 + len(re.findall(r"\n\n", text)),
        "questioning": len(re.findall(r"\?", text)),
    }


def slow_score(counts: dict[str, int | float]) -> float:
    """Add up the counts as the table of the specification has it."""
    n = counts
    total = -5.0 * n["compliance_markers"] - 2.0 * n["formulaic_preamble"]
    total += {0: 0.0, 0.5: -10.0, 1: -20.0}[n["degeneration"]] - 20.0 * n["empty_broken"]
    total += min(0.5 * n["first_person"], 4) + min(0.6 * n["creative_form"], 6)
    total += min(1.0 * n["engagement_depth"], 6) + min(0.8 * n["emotional_register"], 5)
    total += min(1.5 * n["nuance"], 6) + min(0.3 * n["specificity"], 5)
    total += min(1.0 * n["axiom_resonance"], 5) + min(1.5 * n["perspective_taking"], 5)
    total += min(1.0 * n["metaphor"], 4) + min(0.5 * n["questioning"], 3)
    return round(total, 2)


GLUE = [*"    \n\n\n.,:!?*_>#|-'\t\r\u00a0\u2003\u200b\u2014\u2019\u0301\u00b2\u0664", ". "]
NAMES_AND_NUMBERS = ["Ada", "HELlo", "McX", "It", "3.14", "1,000", "2nd", "\u0664,5", "I'm"]
ODD_LETTERS = {"i": "\u0130\u0131iI", "s": "\u017fsS", "k": "\u212akK"}
FILLER = "aeiou 19_\u00e9\u0130\u4e2d\U0001f600\r\n.,"


def random_texts(number: int, seed: int) -> Iterator[str]:
    """Yield texts made of terms, parts of terms and whatever may break a match."""
    dice = random.Random(seed)
    tables = lexicon()
    terms = sorted({*tables["openers"], *(t for group in tables["terms"].values() for t in group)})

    def filled(gap: re.Match[str]) -> str:
        low, high = int(gap[1]), int(gap[2])
        length = dice.choice([low - 1, low, dice.randint(low, high), high, high + 1])
        return "".join(dice.choices(FILLER[:4] * 9 + FILLER, k=length))

    def respelled(letter: str) -> str:
        return dice.choice(ODD_LETTERS.get(letter.lower(), [letter.upper(), letter.lower()]))

    def piece() -> str:
        kind = dice.random()
        if kind < 0.15:
            return "".join(dice.choices(FILLER, k=dice.randint(1, 4)))
        if kind < 0.3:
            return dice.choice(
                ["Ada", "HELlo", "McX", "It", "3.14", "1,000", "2nd", "\u0664,5", "I'm"]
            )
        term = re.sub(r"\{(\d+),(\d+)\}", filled, dice.choice(terms))
        if kind < 0.4:
            cut = dice.randint(0, len(term))
            return term[:cut] if dice.random() < 0.5 else term[cut:]
        if kind < 0.5:
            return "".join(map(respelled, term))
        return dice.choice([term, term, term.lower(), term.upper(), term.capitalize()])

    for _ in range(number):
        vocabulary = [piece() for _ in range(dice.randint(1, 12))]  # small: words repeat
        yield "".join(
            dice.choice(vocabulary) + dice.choice(["", " ", " ", " ", dice.choice(GLUE)])
            for _ in range(dice.randint(0, 30))
        )


def test_random_texts_against_the_rules_read_literally() -> None:
    highest = dict.fromkeys(COUNTS, 0.0)
    for text in random_texts(1500, seed=20260):
        result = score(text)
        expected = slow_counts(text)
        assert result.counts == expected, repr(text)
        assert result.lek_score == pytest.approx(slow_score(expected), abs=1e-9), repr(text)
        highest = {name: max(highest[name], count) for name, count in result.counts.items()}
    # The texts must have something to find, or agreement would mean nothing.
    assert all(highest[name] >= 1 for name in COUNTS)
    assert all(highest[name] >= 4 for name in SLOW)


def test_folding_keeps_length_and_words_and_knows_every_spelling_of_a_letter() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    folded = v2._fold(everything)
    assert len(folded) == len(everything)
    word = re.compile(r"\w+")
    assert [m.span() for m in word.finditer(everything)] == [
        m.span() for m in word.finditer(folded)
    ]
    for letter in "abcdefghijklmnopqrstuvwxyz":
        same = re.findall(letter, everything, re.IGNORECASE)
        assert [c for c in same if v2._fold(c) != letter] == []
        assert folded.count(letter) == len(same)


@pytest.mark.parametrize(
    "unit",
    [
        "right to ", "both x", "while aaa ", "I ", "I'm not able to ", "feel ", "e.g.", " ", "\n",
        "\u00e9", "\u0130 ", "\u4e2d", "a\u0301", "1", "1,", "Aa", "Aaa", "_", "#", ">", ".",
    ],
)  # fmt: skip
def test_time_grows_with_length_not_its_square(unit: str) -> None:
    text = (unit * 1_000_000)[:1_000_000]
    started = time.perf_counter()
    score(text + "x")
    # Half a second at most where this was written; a quadratic scan would take hours.
    assert time.perf_counter() - started < 20
