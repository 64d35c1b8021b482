"""Prose, words, languages and text statistics: what all newer scorers read."""

import itertools
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lem.scorers.language import identify
from lem.scorers.lexis import lookup
from lem.scorers.prose import clean, origin, plain, sentence_count, words
from lem.scorers.textstats import repetition, text_statistics

ANY = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("**Bold** and _thin_ and `code`", "Bold and thin and code"),
        ("# Head\n\n1. one\n2) two\n- three\n> four", "Head one two three four"),
        ("| a | b |\n|---|---|\n| c | d |", "a b c d"),
        ("see [the page](http://a.b/c?d=1) or https://x.y now", "see the page or now"),
        ("a\n```python\nx = 1\n```\nb", "a b"),
        ("a\n```\nnever closed", "a"),
        ("<think>hm\nhm</think>yes", "yes"),
        ("<think>never closed", "never closed"),
        ("<|im_start|>assistant\nyes<|im_end|></s>", "assistant yes"),
        ("<p>hi</p> 1 < 2 and 3 > 2", "hi 1 < 2 and 3 > 2"),
        ("\u201cdon\u2019t\u201d\u2026", '"don\'t".'),
        ("snake_case stays two words", "snake case stays two words"),
        ("First 1. this 2. that. In 2020. Then", "First this that. In 2020. Then"),
    ],
)
def test_what_is_not_prose_is_blanked(text, left):
    assert " ".join(plain(clean(text)).split()) == left


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_every_character_keeps_its_place(text):
    cleaned = clean(text)
    assert len(plain(cleaned)) == len(cleaned)
    back = origin(text)
    places = [back(i) for i in range(len(cleaned) + 1)]
    assert places == sorted(places) and all(0 <= p <= len(text) for p in places)
    assert places[-1] == len(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
@example("\u09c7\u09be and \u1112\u1161\u11ab")
def test_a_decomposed_text_leads_back_to_itself(text):
    parts = unicodedata.normalize("NFD", text)
    cleaned, back = clean(parts), origin(parts)
    cuts = [i for i in range(len(cleaned) + 1) if i == 0 or back(i) != back(i - 1)]
    for i, j in itertools.pairwise(cuts):
        assert clean(parts[back(i) : back(j)]) == cleaned[i:j]


@pytest.mark.parametrize(
    "unit",
    [
        *("<think>", "<think></think>", "[", "](", " ", "> ", "```\n", "*_", "1. ", "<a", "<|"),
        *("e\u0301", "'a", "#", "| ", "- \n", "http://", "x", "\u200b", "\ud800"),
    ],
)
def test_a_megabyte_of_anything_is_read_in_linear_time(unit):
    """Ten times the text takes far less than the hundred times of a quadratic pattern."""

    def seconds(size):
        text = clean((unit * (size // len(unit)) + "\nx")[: size + 2])
        start = time.process_time()
        words(plain(text))
        sentence_count(text)
        return time.process_time() - start

    assert seconds(1_000_000) < 40 * seconds(100_000) + 0.5


def test_words_are_known_by_lemma_and_class():
    found = {
        word: lookup(word) for word in ("Mother's", "lied", "children", "blorping", "the", "don't")
    }
    assert found["Mother's"].lemma == "mother" and "n" in found["Mother's"].classes
    assert found["lied"].lemma == "lie" and found["children"].lemma == "child"
    assert not found["blorping"].known
    assert found["the"].function and found["don't"].function


LANGUAGES = {
    "en": "See you later, and don't let the biscuits go soft!",
    "fr": "Je pense que tu devrais lui parler franchement, parce que la confiance est importante.",
    "de": "Ich denke, du solltest offen mit ihr reden, weil Vertrauen für euch beide wichtig ist.",
    "es": "Creo que deberías hablar con ella con franqueza, porque la confianza es importante.",
    "nl": "Ik denk dat je eerlijk met haar moet praten, want vertrouwen is belangrijk voor jullie.",
    "zh": "我认为你应该坦率地和她谈谈，因为信任很重要。",
    "sw": "Nadhani unapaswa kuzungumza naye kwa uwazi kwa sababu uaminifu ni muhimu.",
    "und": "",
}


@pytest.mark.parametrize(("code", "text"), LANGUAGES.items())
def test_languages(code, text):
    assert identify(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "blorping snarfed the ziggles were frobbing quandled wibbles and murfing the snoofs",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.",
        "12 34 56",
        "**Sorry**, mate.",
    ],
)
def test_what_is_no_other_language_stays_english_or_undetermined(text):
    assert identify(text) in {"en", "und"}


def test_text_statistics():
    found = text_statistics(
        "# Title\n\n**Tell** her. Will you?\n\n- because it is right\n", "length"
    )
    assert found == {
        "words": 9,
        "sentences": 4,
        "markdown_share": round(1 - 37 / 43, 4),
        "empty": False,
        "truncated": True,
        "refused": False,
        "language": "en",
        "repetition": 0.0,
    }
    assert text_statistics(" \n", "stop")["empty"] is True
    assert text_statistics("x", None)["truncated"] is None
    assert text_statistics("x", "unknown")["truncated"] is None


def test_repetition_is_the_share_of_runs_said_before():
    assert repetition(list("abcdefg")) is None
    assert repetition(list("abcdefgh")) == 0
    assert repetition(list("abcdabcd")) == round(1 - 4 / 5, 4)
    assert repetition(["a"] * 100) > 0.98
