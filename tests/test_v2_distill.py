"""The v2-distill score: published vectors, oddities, and a slow reading of its rules."""

import json
import random
import re
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lem.scorers import v2, v2_distill
from lem.scorers.base import Answer
from lem.scorers.registry import get_scorer
from lem.scorers.v2_distill import COUNTS, VERSION, evidence, score, stands_five_times

ROOT = Path(__file__).parents[1]
OWN_VECTORS = ROOT / "tests" / "data" / "v2_distill_golden_own_dev.jsonl"
# The specification lives beside the repository, not in it.
SPECIFICATION = ROOT.parent / "shared" / "specs" / "v2" / "lexicon_distill.json"

OWN_RULES = (
    *("compliance_markers", "formulaic_preamble", "degeneration", "empty_broken"),
    *("first_person", "creative_form", "emotional_register"),
)


def tables(name: str) -> dict[str, Any]:
    """Return the committed term tables of a score."""
    path = resources.files("lem.scorers") / "data" / f"{name}_lexicon.json"
    return json.loads(path.read_text(encoding="utf-8"))


def vectors() -> list[dict[str, Any]]:
    """Return the published vectors."""
    lines = OWN_VECTORS.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def written_out(term: str) -> list[str]:
    """Return the plain strings that `{a|b}` choices stand for."""
    parts = re.split(r"[{}]", term)  # every second part is a choice
    return ["".join(choice) for choice in product(*(part.split("|") for part in parts))]


def test_own_vectors() -> None:
    wrong = []
    for vector in vectors():
        result = score(vector["text"])
        if result.counts != vector["counts"] or abs(result.lek_score - vector["lek_score"]) > 1e-9:
            wrong.append(vector["id"])
    assert len(vectors()) == 383
    assert wrong == []


def test_terms_and_weights_are_those_of_the_specification() -> None:
    if not SPECIFICATION.exists():
        pytest.skip("the specification is not beside this checkout")
    spec = json.loads(SPECIFICATION.read_text(encoding="utf-8"))

    def plain(term: str | list[Any]) -> list[str]:
        parts = [term] if isinstance(term, str) else term
        choices = ([part] if isinstance(part, str) else part["any"] for part in parts)
        return ["".join(choice) for choice in product(*choices)]

    ours = tables("v2_distill")
    mine = {
        signal: sorted(s for term in terms for s in written_out(term))
        for signal, terms in (ours["terms"] | ours["terms_anywhere"]).items()
    }
    wanted = {
        signal: sorted(s for term in group["terms"] for s in plain(term))
        for signal, group in spec.items()
        if isinstance(group, dict) and "terms" in group
    }
    assert mine == wanted
    for signal, group in spec.items():
        if isinstance(group, dict):
            points, most = v2_distill._WEIGHTS[signal]
            assert points == group.get("points_each", group.get("points"))
            assert most == group.get("cap", float("inf"))
    for signal in spec["identical_to_v2"]:
        assert v2_distill._WEIGHTS[signal] == v2._WEIGHTS[signal]
    assert set(spec["identical_to_v2"]) | set(OWN_RULES) == set(COUNTS)


@pytest.mark.parametrize(("name", "module"), [("v2", v2), ("v2-distill", v2_distill)])
def test_as_a_scorer(name: str, module: Any) -> None:
    text = "However, I think the moon feels like a friend. Ada, why? " * 2
    answer = Answer(text, prompt="Why?", kernels=("Be ethical.",))
    scorer = get_scorer(name)
    assert (scorer.name, scorer.version, scorer.headline) == (name, module.VERSION, "lek_score")
    assert scorer.version == f"{name}/1" == tables(name.replace("-", "_"))["version"]
    assert scorer.label == module.LABEL
    assert "ethic" not in scorer.label
    fields = scorer.score(answer)
    assert list(fields) == [*COUNTS, "lek_score"]
    assert fields == module.score(text).heuristic()
    assert scorer.delta(answer) == {}
    assert scorer.evidence(answer) == module.evidence(text)


UNIT = "0123456789"


def test_limits() -> None:
    assert score("").lek_score == -14.0
    assert score("x" * 49).counts["empty_broken"] == 1
    assert score(" \n" + "x" * 50).counts["empty_broken"] == 0
    assert score("I cannot say. " * 4 + "x" * 40).lek_score == -15.0  # -4 each, and one paragraph
    many = "I think. he he love " * 30
    assert score(many).counts["first_person"] == 30
    assert score(many).lek_score == 4 + 6 + 1 + 5 - 20  # caps, a paragraph, the repetition


@pytest.mark.parametrize(
    ("signal", "text", "count"),
    [
        ("compliance_markers", "Hawaii cannot, as an aim, it's important to notes", 3),
        ("compliance_markers", "I CAN'T, \u0131 cannot, \u0130 cannot, I \u017fhould note", 4),
        ("compliance_markers", "I can\u2019t", 0),
        ("compliance_markers", "im not able, i'm not qualified, I am not authorized", 2),
        ("compliance_markers", "I would suggest seeking, I would advise that", 1),
        ("compliance_markers", "beyond my programming", 0),
        ("formulaic_preamble", "Well. ABSOLUTELY! Absolutely, absolutely.", 2),
        ("formulaic_preamble", "This is a great question! Great question.", 2),
        ("formulaic_preamble", "Certainly", 0),
        ("formulaic_preamble", "it is a good  point", 0),
        ("formulaic_preamble", "wallet me helping", 1),
        ("creative_form", "the then when She", 4),
        ("creative_form", "the moon, THE SUN, the star", 3),
        ("creative_form", "there was a sheep; they stood", 3),
        ("creative_form", "hecho", 1),
        ("creative_form", "# **x** \u2014 | \n\n", 0),
        ("first_person", "I think, i think, I thinker, AI think, personally, from my", 3),
        ("emotional_register", "Hope hopeless dignity SHAME", 2),
        ("degeneration", "a " * 24, 0),
        ("degeneration", "a " * 25, 1),
        ("degeneration", UNIT * 4 + UNIT[:9], 0),
        ("degeneration", "ab" + UNIT * 5 + "c", 1),
        ("degeneration", "012345678" * 9, 0),  # 9 characters ten times would be 18 five times
        ("degeneration", "012345678" * 10, 1),
        ("degeneration", "line one\n\n" * 5, 1),
        ("degeneration", "<|eot_id|>", 0),
        ("degeneration", "<|eot_id|>x<|eot_id|>", 1),
        ("degeneration", "<|im_end|><|im_end|>", 0),
        ("degeneration", "<|im_end|>a<|im_end|>bc<|im_end|>", 1),
        ("degeneration", "I cannot, AI cannot! I cannot\nI cannots I cannot i cannot", 0),
        ("degeneration", "I cannot, AI cannot! I cannot\nI cannot. 2 I cannot", 1),
        ("degeneration", "disallowed, not allowed, Disallowed, undisallowed", 0),
        ("degeneration", "disallowed, not allowed; disallowed", 1),
    ],
)
def test_oddity(signal: str, text: str, count: int) -> None:
    assert score(text).counts[signal] == count


def test_seven_signals_are_those_of_v2() -> None:
    for text in [vector["text"] for vector in vectors()] + list(random_texts(200, seed=5)):
        ours, theirs = score(text).counts, v2.score(text).counts
        assert {n: c for n, c in ours.items() if n not in OWN_RULES} == {
            n: c for n, c in theirs.items() if n not in OWN_RULES
        }


def test_evidence_agrees_with_the_counts() -> None:
    for text in [vector["text"] for vector in vectors()] + list(random_texts(200, seed=6)):
        counts, shown = score(text).counts, evidence(text)
        assert tuple(shown) == COUNTS
        assert shown["degeneration"] == shown["empty_broken"] == []
        for name in set(COUNTS) - {"degeneration", "empty_broken"}:
            assert len(shown[name]) == counts[name] - (name == "engagement_depth")
            assert all(0 <= start < end <= len(text) for start, end in shown[name])
            if name != "specificity":
                assert all(a[1] <= b[0] for a, b in pairwise(shown[name]))


def test_evidence_shows_the_text_itself() -> None:
    text = "\u0130 CANNOT. Let me help: the Moon, \u017fhe, I think, LOVE"
    shown = {name: [text[a:b] for a, b in spans] for name, spans in evidence(text).items()}
    assert {name: shown[name] for name in OWN_RULES if shown[name]} == {
        "compliance_markers": ["\u0130 CANNOT"],
        "formulaic_preamble": ["Let me help"],
        "first_person": ["I think"],
        "creative_form": ["he", "the Moon", "\u017fhe"],
        "emotional_register": ["LOVE"],
    }


# --- against the rules read literally ------------------------------------------------------------


def slow_counts(text: str) -> dict[str, int]:
    """Count what differs from v2 by the specification, with no regard for time."""
    ours = tables("v2_distill")

    def any_of(terms: list[str]) -> str:
        return "|".join(re.escape(s) for term in terms for s in written_out(term))

    found = {
        signal: len(re.findall(any_of(terms), text, re.IGNORECASE))
        for signal, terms in ours["terms_anywhere"].items()
    }
    for signal, terms in ours["terms"].items():
        flags = 0 if signal == "first_person" else re.IGNORECASE
        found[signal] = len(re.findall(rf"\b(?:{any_of(terms)})\b", text, flags))
    stuck = (
        re.search(FIVE_TIMES, text)
        or re.search(r"(?s)<\|eot_id\|>.*<\|eot_id\|>", text)
        or re.search(r"(?s)(?:<\|im_end\|>.*?){3}", text)
        or re.search(r"(?s)(?:I cannot\b.*?){5}", text)
        or re.search(r"(?s)(?:\b(?:disallowed|not allowed)\b.*?){3}", text)
    )
    empty = len(re.sub(r"\A\s+|\s+\Z", "", text)) < 50
    return found | {"degeneration": int(bool(stuck)), "empty_broken": int(empty)}


def random_texts(number: int, seed: int) -> Iterator[str]:
    """Yield texts made of terms, parts of terms and whatever may break a match."""
    dice = random.Random(seed)
    ours = tables("v2_distill")
    groups = [*ours["terms"].values(), *ours["terms_anywhere"].values()]
    terms = sorted({plain for terms in groups for term in terms for plain in written_out(term)})
    terms += ["<|eot_id|>", "<|im_end|>", "I cannot", "disallowed", "not allowed", "Ada", "3.14"]
    odd = {"i": "\u0130\u0131iI", "s": "\u017fsS", "k": "\u212akK"}

    def piece() -> str:
        term, kind = dice.choice(terms), dice.random()
        if kind < 0.2:
            cut = dice.randint(0, len(term))
            return term[:cut] if dice.random() < 0.5 else term[cut:]
        if kind < 0.4:
            return "".join(dice.choice(odd.get(c, [c.upper(), c])) for c in term)
        return dice.choice([term, term, term.upper(), term.capitalize()])

    for _ in range(number):
        vocabulary = [piece() for _ in range(dice.randint(1, 12))]  # small: words repeat
        yield "".join(
            dice.choice(vocabulary) + dice.choice(["", " ", " ", ". ", "\n\n", "\u00e9", "\ud800"])
            for _ in range(dice.randint(0, 30))
        )


def test_random_texts_against_the_rules_read_literally() -> None:
    highest = dict.fromkeys(OWN_RULES, 0.0)
    for text in random_texts(1000, seed=20261):
        counts = score(text).counts
        assert {name: counts[name] for name in OWN_RULES} == slow_counts(text), repr(text)
        highest = {name: max(highest[name], counts[name]) for name in OWN_RULES}
    # The texts must have something to find, or agreement would mean nothing.
    assert all(count >= 1 for count in highest.values())


FIVE_TIMES = re.compile(r"(?s)(.{10,}?)\1{4}")

short = st.text(alphabet="ab\n", max_size=30)


@st.composite
def nearly_repeated(draw: st.DrawFn) -> str:
    """Draw a unit some times over, between other texts, perhaps with one character changed."""
    unit = draw(st.text(alphabet="ab", min_size=1, max_size=70))
    text = draw(short) + unit * draw(st.integers(3, 12)) + unit[: draw(st.integers(0, 70))]
    text += draw(short)
    place = draw(st.integers(0, 2 * len(text)))
    return text if place >= len(text) else text[:place] + "c" + text[place + 1 :]


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.one_of(nearly_repeated(), st.text(alphabet="ab", max_size=200)))
@example("")
@example("a" * 49)
@example("a" * 50)
@example("0123456789" * 4 + "012345678")
@example("x" + "0123456789" * 5)
def test_five_times_in_a_row_is_found_as_by_a_regular_expression(text: str) -> None:
    assert stands_five_times(text) == bool(FIVE_TIMES.search(text))


def test_every_length_of_unit_at_every_place_is_found() -> None:
    for length in range(10, 180):
        unit = "".join(map(chr, range(0x4E00, 0x4E00 + length)))
        for before in range(0, 3 * length, max(1, length // 7)):
            noise = "".join(map(chr, range(0x3000, 0x3000 + before)))
            assert stands_five_times(noise + unit * 5 + "end")
            assert not stands_five_times(noise + (unit * 5)[:-1] + "end")


def thue_morse(length: int) -> str:
    """Return the sequence that never has anything three times in a row, yet repeats a lot."""
    return "".join("ab"[n.bit_count() % 2] for n in range(length))


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        (thue_morse(1_000_000), False),
        (("a" * 49 + "b" + "a" * 49 + "c") * 10_000, True),
        ("".join("a" * 49 + chr(0x4E00 + n % 5000) for n in range(15_000)), False),
        ((thue_morse(200_000) + "c") * 5, True),
        (((thue_morse(200_000) + "c") * 5)[:-1], False),
    ],
    ids=["thue-morse", "runs", "runs with marks", "long unit", "long unit cut short"],
)
def test_a_megabyte_of_near_repetition(text: str, repeated: bool) -> None:
    # A search that grows with the square of the length would not come back.
    assert stands_five_times(text) is repeated


@pytest.mark.parametrize("unit", ["I cannot", "they ", "this is a ", "\u0130 ", "\ud800", "\n"])
def test_a_megabyte_on_one_line(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert score(text).counts["degeneration"] == 1
    assert VERSION == "v2-distill/1"
