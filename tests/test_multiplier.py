"""Variants of a text: published vectors of the original, and the repaired way of joining."""

import json
import re
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lem.scorers.grammar import multiply, tokenise

VECTORS = Path(__file__).parent / "data" / "grammar_golden_multiplier.jsonl"


def vectors() -> list[tuple[str, list[str]]]:
    lines = VECTORS.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return [(row["text"], row["variants"] or []) for row in rows]


def test_vectors_of_the_original() -> None:
    rows = vectors()
    assert len(rows) == 267
    assert [
        text for text, variants in rows if list(multiply(text, as_original=True)) != variants
    ] == []


def test_marks_and_line_breaks_stay() -> None:
    text = "  Run the\n\n tests,  please: (Stop?)\t"
    assert list(multiply(text)) == [
        "Run the\n\n tests,  please: (Stop?)",
        "Ran the\n\n tests,  please: (Stop?)",
        "Running the\n\n tests,  please: (Stop?)",
        "Run the\n\n test,  please: (Stop?)",
        "Ran the\n\n test,  please: (Stop?)",
        "Running the\n\n test,  please: (Stop?)",
    ]


def outline(text: str) -> list[str]:
    """Return the white space of a text and its marks."""
    return re.findall(r"\s+|[?!:;,.)\]}]", text)


def test_only_words_change() -> None:
    checked = 0
    for text, variants in vectors():
        ours = list(multiply(text))
        assert ours[:1] == variants[:1]
        assert all(outline(variant) == outline(ours[0]) for variant in ours)
        checked += len(ours)
    assert checked > 1000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["we", "run", "Tests", "stopped", "MAKING", "people", "update"])))
def test_both_ways_agree_where_there_are_no_marks(words: list[str]) -> None:
    text = " ".join(words[:6])
    assert list(multiply(text)) == list(multiply(text, as_original=True))


def test_every_variant_comes_once_and_in_order() -> None:
    text = "They stop files."
    assert list(multiply(text)) == [
        "They stop files.",
        "They stopped files.",
        "They stopping files.",
        "They stop file.",
        "They stopped file.",
        "They stopping file.",
    ]


@pytest.mark.parametrize("text", ["", " \n", "\u3000"])
def test_a_blank_text_has_no_variants(text: str) -> None:
    assert list(multiply(text)) == []


def test_a_text_without_verbs_and_nouns_is_alone() -> None:
    assert list(multiply(" blue, so... ")) == ["blue, so..."]


def test_case_is_kept() -> None:
    assert list(multiply("RUNNING"))[1:] == ["RAN", "RUN"]
    assert list(multiply("Running"))[1:] == ["Ran", "Run"]
    assert list(multiply("running"))[1:] == ["ran", "run"]


def test_variants_of_a_long_text_are_made_one_at_a_time() -> None:
    text = "They stopped the tests. " * 4000
    assert len(tokenise(text)) == 20_000
    taken = list(islice(multiply(text), 5))
    assert len(set(taken)) == 5
    assert all(abs(len(variant) - len(text)) < 10 for variant in taken)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=60), st.booleans())
def test_any_text_has_variants(text: str, as_original: bool) -> None:
    taken = list(islice(multiply(text, as_original=as_original), 50))
    assert bool(taken) == bool(tokenise(text))
