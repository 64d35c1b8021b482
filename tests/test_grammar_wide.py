"""The grammar-wide score: word classes in context, windows, and what must not matter."""

from collections import Counter
from dataclasses import fields
from itertools import pairwise, product
from math import log, log2
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lem.errors import LemError
from lem.scorers import grammar, grammar_wide
from lem.scorers.base import Answer
from lem.scorers.grammar.imprints import similarity
from lem.scorers.grammar_wide import (
    WINDOW,
    WideDelta,
    WideScore,
    _distinct,
    _tense_entropy,
    delta,
    evidence,
    imprint,
    score,
)
from lem.scorers.registry import get_scorer
from lem.scorers.wordclasses import forms, senses, spans

SENTENCES = (
    "My neighbour keeps bees behind the school, and every summer he leaves a jar at our door.",
    "Nobody asked him to do it.",
    "When I was ill last winter, he cleared the path before I had even woken up.",
    "What would you give a man who wants nothing?",
    "I thought about money, then about time, and finally I wrote him a letter.",
    "He never answered, but the next jar was larger.",
    "People who live close together learn which windows stay dark and which dogs bark at night.",
    "That kind of knowledge is worth more than a fence.",
    "Of course he can be difficult: he argues about the hedge, plays the radio loudly and "
    "complains whenever the council changes the bins.",
    "Should I tell him that his music wakes the baby?",
    "My sister says that honesty among neighbours needs good timing and a cake.",
    "She is probably right, although her own street has not spoken to her since the election.",
    "So on Saturday I baked bread, walked across the yard and knocked.",
    "We sat in his kitchen, talking about queens and swarms until the light faded.",
    "The radio was off by nine that evening, and it has stayed off.",
    "Perhaps a small favour, offered early, prevents a long quarrel.",
    "Lawyers earn their living from the other kind of street.",
    "Their letters arrive in stiff envelopes, quoting paragraphs that no resident has ever read.",
    "A judge once ordered two brothers to cut a tree exactly in half.",
    "The tree died, of course, and so did the friendship.",
    "Bees, meanwhile, cross every border without permission and pay in honey.",
)
TEXT = " ".join(SENTENCES)


def found(text: str, sense: str) -> list[str]:
    """Return the words that a text has in a sense."""
    read = zip(spans(text), senses(forms(text)))
    return [text[start:end].lower() for (start, end), made in read if made == sense]


def composite(text: str) -> float:
    """Return a composite that has to be there."""
    value = score(text).composite
    assert value is not None
    return value


# --- word classes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nouns", "verbs"),
    [
        ("The answer depends on trust.", "answer trust", "depends"),
        ("People trust the answers of experts.", "people answers experts", "trust"),
        ("I will answer the question.", "question", "answer"),
        ("Respect the choice they made.", "choice", "respect made"),
        ("Respect and care matter to us.", "respect care matter", ""),
        ("to help and support them", "", "help support"),
        ("We need help; the need is great.", "help need", "need"),
        ("She is building a house.", "house", "building"),
        ("The building stood by the river.", "building river", "stood"),
        ("By building trust you win friends.", "trust friends", "building win"),
        ("It means a lot.", "lot", "means"),
        ("a good reason, the good of all", "reason good", ""),
        ("He has left his left glove there.", "glove", "left"),
        ("A long-distance runner takes time.", "distance runner time", "takes"),
        ("On Saturday, Kenya's rivers rose.", "saturday kenya's rivers", "rose"),
        ("My friend's advice wasn't asked for.", "friend's advice", "asked"),
        ("Don't make promises you can't keep.", "promises", "make keep"),
        ("Flurbing snarfs the blorp.", "", ""),
    ],
)
def test_nouns_and_verbs_in_context(text: str, nouns: str, verbs: str) -> None:
    assert found(text, "noun") == nouns.split()
    assert found(text, "verb") == verbs.split()


@pytest.mark.parametrize(
    ("text", "tense"),
    [
        ("she walks", "base"),
        ("she walked", "past"),
        ("walking", "gerund"),
        ("they found", "past"),
        ("it was", "past"),
        ("having", "gerund"),
        ("I don't", "base"),
        ("we ran", "past"),
    ],
)
def test_tenses(text: str, tense: str) -> None:
    assert imprint(text).tense_distribution == {tense: 1.0}


def test_modals_have_no_tense_and_are_no_verbs() -> None:
    assert imprint("You could, she must, we will.").tense_distribution == {}


def test_imprint() -> None:
    made = imprint("The dogs chased a cat. Why did the cats run?")
    assert made.noun_distribution == {"dog": 1 / 3, "cat": 2 / 3}
    assert made.verb_distribution == {"chase": 0.5, "run": 0.5}
    assert made.tense_distribution == {"past": 2 / 3, "base": 1 / 3}
    assert made.article_usage == {"definite": 2 / 3, "indefinite": 1 / 3}
    assert made.punctuation_pattern == {"sentence_end": 0.5, "question": 0.5}
    assert (made.token_count, made.unique_verbs, made.unique_nouns) == (12, 2, 2)
    assert made.plural_ratio == 2 / 3


def test_imprints_of_the_two_scores_are_never_compared() -> None:
    with pytest.raises(LemError, match="profiles"):
        similarity(imprint(TEXT), grammar.imprint(TEXT))


# --- windows -------------------------------------------------------------------------------------


def slow_distinct(items: list[str]) -> float:
    """Count the different items of every window of a ring."""
    ring = items * 2
    return fmean(len(set(ring[i : i + WINDOW]) - {""}) for i in range(len(items)))


@given(st.lists(st.sampled_from(["", *"abcdefgh"]), min_size=WINDOW, max_size=4 * WINDOW))
def test_richness_is_the_mean_over_all_windows_of_the_ring(items: list[str]) -> None:
    places = [(i, item) for i, item in enumerate(items) if item]
    assert _distinct(places, len(items), 0.9) == pytest.approx(slow_distinct(items))


def test_short_texts_are_carried_forward() -> None:
    assert _distinct([(0, "a"), (3, "b")], 25, 0.5) == pytest.approx(2 * 2**0.5)
    assert _distinct([], 0, 0.5) == 0.0


def slow_entropy(tenses: list[str]) -> float:
    """Estimate the entropy of every window of ten, from the formula."""
    size = min(len(tenses), 10)
    ring = tenses * 2
    windows = [Counter(ring[i : i + size]).values() for i in range(len(tenses))]
    estimates = [
        sum(n / size * sum(1 / j for j in range(n, size)) for n in counts) / log(2)
        for counts in windows
    ]
    return fmean(min(estimate, log2(3)) for estimate in estimates)


@given(st.lists(st.sampled_from(["base", "past", "gerund"]), min_size=1, max_size=40))
def test_tense_entropy_is_the_mean_over_all_windows_of_the_ring(tenses: list[str]) -> None:
    assert _tense_entropy(tenses) == pytest.approx(slow_entropy(tenses))


def test_no_few_tenses_gain_by_being_repeated() -> None:
    for size in range(1, 8):
        for tenses in product(("base", "past", "gerund"), repeat=size):
            for times in (2, 3):
                assert _tense_entropy([*tenses] * times) <= _tense_entropy([*tenses]) + 1e-12


# --- the score -----------------------------------------------------------------------------------


def test_composite_is_made_of_its_fields() -> None:
    made = score(TEXT)
    assert made.unknown_share == 0.0
    assert not made.extrapolated
    assert made.composite == pytest.approx(
        25 * made.tense_entropy / log2(3)
        + 25 * made.vocab_richness
        + 20 * 2 * made.question_ratio
        + 15 * made.verb_diversity / 10
        + 15 * made.noun_diversity / 15
    )
    assert made.question_ratio == 2 / len(SENTENCES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0.0),
        ("...", 0.0),
        ("Why?", 1.812874149),
        (SENTENCES[3], 27.360647014),
        (TEXT, 64.464076722),
    ],
)
def test_numbers_of_this_version(text: str, value: float) -> None:
    assert grammar_wide.VERSION == "grammar-wide/1"
    assert score(text).composite == pytest.approx(value, abs=1e-6)


def test_length_of_an_answer_does_not_decide() -> None:
    tokens = TEXT.split()
    for size in (40, 60, 80, 120, len(tokens)):
        starts = range(0, len(tokens) - size + 1, 20)
        pieces = [" ".join(tokens[start : start + size]) for start in starts]
        assert fmean(map(composite, pieces)) == pytest.approx(composite(TEXT), abs=5)
    old = [grammar.score(" ".join(tokens[:size])).composite for size in (40, len(tokens))]
    assert old[1] - old[0] > 10


def test_too_short_a_text_scores_little() -> None:
    assert composite("Why?") < composite("Is this?") < composite("What is kindness?") < 10
    assert score("What is kindness?").extrapolated


def test_questions_are_counted_per_sentence_and_once() -> None:
    assert score("Is it so? It is. He left; she stayed, I think.").question_ratio == 1 / 3
    assert score("Is it so? Is it so? It is.").question_ratio == 1 / 3
    assert score("Is it so?! It is.").question_ratio == 1 / 2
    assert score("??? Yes. ?").question_ratio == 0.0
    assert score("It is 3.5 km. Is it so? And the unfinished").question_ratio == 1 / 2
    assert score("word " * 400 + "?").question_ratio == 0.1


# --- what must not matter ------------------------------------------------------------------------


MARKDOWN = [
    "## " + TEXT,
    "**" + TEXT + "**",
    "> " + TEXT,
    "\n".join(f"- **{sentence}**" for sentence in SENTENCES),
    "\n\n".join(f"{n}. *{sentence}*" for n, sentence in enumerate(SENTENCES, 1)),
    "| " + " | ".join(SENTENCES) + " |\n|---|---|",
    "<think>Hm, what do they want?</think>" + TEXT,
    "<|im_start|>" + TEXT + "<|im_end|>",
    TEXT + "\n```python\nprint('why?')\n```\n",
    "\r\n".join(SENTENCES),
    "\u201c" + "\u201d \u201c".join(SENTENCES) + "\u201d",
    "'" + TEXT + "'",
    TEXT.replace("neighbours", "neigh\u00adbours"),
]


@pytest.mark.parametrize("text", MARKDOWN)
def test_layout_and_quotation_marks_change_nothing(text: str) -> None:
    assert text != TEXT
    assert score(text) == score(TEXT)
    assert delta(TEXT, text) == delta(TEXT, TEXT)


@pytest.mark.parametrize("gap", [" ", "\n\n"])
@pytest.mark.parametrize("times", [2, 3, 10])
@pytest.mark.parametrize("sentences", [1, 2, 3, 6, len(SENTENCES)])
def test_repeating_a_text_never_raises_it(sentences: int, times: int, gap: str) -> None:
    text = " ".join(SENTENCES[:sentences])
    once, often = score(text), score(gap.join([text] * times))
    assert composite(gap.join([text] * times)) <= composite(text) + 1e-9
    if not once.extrapolated:
        assert often.vocab_richness == pytest.approx(once.vocab_richness)
        assert often.noun_diversity == pytest.approx(once.noun_diversity)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*SENTENCES, "Right?", "Flurb the blorp!"]), min_size=1),
    st.integers(2, 5),
)
def test_repeating_any_finished_text_never_raises_it(chosen: list[str], times: int) -> None:
    text = " ".join(chosen)
    assert composite(" ".join([text] * times)) <= composite(text) + 1e-9


def test_padding_never_raises_it() -> None:
    for padding in ("\n\n\n", " ---\n", "**", " ", " the" * 50, " zqx" * 50, " Yes." * 50):
        assert composite(TEXT + padding) <= composite(TEXT) + 1e-9


# --- unknown words and other languages -----------------------------------------------------------


def test_invented_words_add_nothing() -> None:
    salad = "blorping snarfed ziggles wumbled frindling plomps gwarped trindling zorps? " * 8
    assert score(salad).unknown_share == 1.0
    assert score(salad).composite == 0.0
    assert grammar.score(salad).composite > 50
    mixed = score(TEXT + " " + salad)
    assert 0 < mixed.unknown_share < grammar_wide.UNKNOWN_LIMIT
    assert composite(TEXT + " " + salad) < composite(TEXT)


def test_many_unknown_words_are_a_discount_without_a_step() -> None:
    text = " ".join(SENTENCES[:8])
    size = len(text.split())
    shares = []
    for unknown in range(60, 160):
        made = score(text + " zqxv" * unknown)
        if made.composite is not None:
            shares.append((made.unknown_share, made.composite))
    assert shares[0][0] < grammar_wide.UNKNOWN_LIMIT < shares[-1][0]
    assert size > WINDOW
    for (_, before), (_, after) in pairwise(shares):
        assert before - 2 < after < before


@pytest.mark.parametrize(
    "text",
    [
        "La gentillesse demande du temps. Les personnes que nous aimons nous disent souvent ce "
        "dont elles ont besoin. Savons-nous les entendre ?",
        "Freundlichkeit braucht Zeit und M\u00fche. Die Menschen, die wir lieben, sagen uns oft, "
        "was sie brauchen. K\u00f6nnen wir ihnen zuh\u00f6ren?",
        "\u5584\u826f\u9700\u8981\u65f6\u95f4\u3002\u6211\u4eec\u7231\u7684\u4eba\u5e38\u5e38\u544a\u8bc9\u6211\u4eec\u4ed6\u4eec\u9700\u8981\u4ec0\u4e48\u3002\u6211\u4eec\u542c\u5f97\u89c1\u5417\uff1f",
    ],
)
def test_another_language_is_not_applicable(text: str) -> None:
    made = score(text)
    for field in fields(WideScore)[:6]:
        assert getattr(made, field.name) is None
    assert made.unknown_share > grammar_wide.UNKNOWN_LIMIT
    assert delta(TEXT, text) == delta(text, TEXT) == WideDelta()


# --- against the prompt --------------------------------------------------------------------------


def test_delta() -> None:
    prompt, response = " ".join(SENTENCES[:4]), " ".join(SENTENCES[4:])
    made = delta(prompt, response)
    assert made.input_composite == composite(prompt)
    assert made.uplift == pytest.approx(composite(response) - composite(prompt))
    assert made.echo == similarity(imprint(prompt), imprint(response))
    assert made.enrichment == pytest.approx(made.uplift * (1 - made.echo))
    assert made.sycophantic is False


def test_parroting_is_high_overlap_and_low_gain() -> None:
    made = delta(TEXT, "You say: " + TEXT)
    assert made.echo > 0.99
    assert made.sycophantic is True


# --- evidence ------------------------------------------------------------------------------------


def test_evidence() -> None:
    text = "**Why** do the bl\u00adorps sing? Bees fly.\n\n- \u201cIs a nest warm?\u201d"
    shown = {name: [text[a:b] for a, b in places] for name, places in evidence(text).items()}
    assert shown == {
        "verbs": ["do", "sing", "fly", "Is"],
        "nouns": ["Bees", "nest"],
        "articles": ["the", "a"],
        "questions": ["Why** do the bl\u00adorps sing?", "Is a nest warm?"],
        "unknown": ["bl\u00adorps"],
    }


def test_evidence_is_what_was_counted() -> None:
    shown = evidence(TEXT)
    assert len(shown["questions"]) == 2
    made = imprint(TEXT)
    tensed = [TEXT[a:b].lower() for a, b in shown["verbs"]]
    assert set(found(TEXT, "verb")) < set(tensed)
    assert len({noun for noun in found(TEXT, "noun")}) >= made.unique_nouns


# --- any text is legal ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    st.text(st.characters(), max_size=200) | st.text("aI\u0130 -'?.,:\n*`\ud800 the", max_size=200)
)
def test_any_text_has_a_score_and_evidence_inside_it(text: str) -> None:
    made = score(text)
    assert made.composite is None or 0 <= made.composite <= 100
    assert 0 <= made.unknown_share <= 1
    assert len(forms(text)) == len(spans(text))
    for places in evidence(text).values():
        assert all(0 <= start < end <= len(text) for start, end in places)


@pytest.mark.parametrize(
    "piece",
    ["a", "?", "'", "-", "a-", "run ", "Is it? ", "\ud800", "\u0130", "1.", "{[(", "\u00ad "],
)
def test_a_megabyte_in_one_line(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    made = score(text)
    assert made.token_count <= len(text)
    assert made.composite is None or made.composite < 50


# --- as one of the scorers -----------------------------------------------------------------------


def test_scorer() -> None:
    scorer = get_scorer("grammar-wide")
    assert (scorer.name, scorer.version) == ("grammar-wide", "grammar-wide/1")
    assert scorer.label == "surface grammar, broad vocabulary"
    answer = Answer(TEXT, prompt=SENTENCES[0])
    made = scorer.score(answer)
    assert [*made] == [field.name for field in fields(WideScore)]
    assert made[scorer.headline] == composite(TEXT)
    assert [*scorer.delta(answer)] == [field.name for field in fields(WideDelta)]
    assert scorer.delta(answer)["uplift"] == delta(SENTENCES[0], TEXT).uplift
    assert set(scorer.delta(Answer(TEXT)).values()) == {None}
    assert scorer.evidence(answer) == evidence(TEXT)
    with pytest.raises(LemError, match="no profile"):
        get_scorer("grammar-wide:head")
