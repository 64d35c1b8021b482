"""The `reasoning` score: what it must not reward, and what it must not punish."""

import json
import random
import statistics
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lem.kernels import BUILT_IN, load_kernel
from lem.scorers import reasoning
from lem.scorers.base import Answer
from lem.scorers.reasoning.lexicon import lexicon
from lem.scorers.registry import get_scorer

DATA = Path(__file__).parents[1] / "benchmarks" / "data"
KERNELS = tuple(load_kernel(name, where).text for name, where in BUILT_IN.items())
PROMPT = (
    "My neighbour Ruth is 81 and forgets the stove. Her son pays me to look in twice a day. She "
    "begged me not to tell him about the small fire in the kitchen on Tuesday. Do I?"
)
ANSWER = (
    "Tell Ruth first that you can't keep this one quiet, because the next fire may not be small, "
    "and the people upstairs would burn too. Then offer her a choice: she rings her son herself "
    "tonight while you sit with her, or you do it tomorrow. She will be angry, but if he learns of "
    "it from a fireman, nobody asks her anything. A stove that switches itself off costs less than "
    "a home, so have the price ready before he starts to talk about moving her."
)


def sets():
    return [
        pytest.param(
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()],
            id=path.stem,
        )
        for path in sorted(DATA.glob("validity_?.jsonl"))
    ]


def value(text, prompt=PROMPT, kernels=KERNELS):
    return reasoning.score(text, prompt, kernels).score


# --- the validity sets ---------------------------------------------------------------------------

OUT_OF_REACH = {
    # Grammatical, in the prompt's own words, and without sense: only a reader of meaning sees it.
    "salad-grammatical",
    "noun-swap",
    "nonsense-sentences",
    "interleaved-topics",
    "ngram-stitch",
    "generated-case-nouns",
}


@pytest.mark.parametrize("items", sets())
def test_worthless_texts_are_below_nine_of_ten_real_answers(items):
    scores = {kind: [] for kind in ("real", "worthless", "good-short", "harm")}
    past = Counter()
    for item in items:
        scores[item["class"]].append(value(item["response"], item["prompt"]))
    p10, p25 = (statistics.quantiles(scores["real"], n=20, method="inclusive")[i] for i in (1, 4))
    worthless = [item for item in items if item["class"] == "worthless"]
    for item, score in zip(worthless, scores["worthless"]):
        if score >= p10 and item["kind"] not in OUT_OF_REACH:
            past[item["kind"]] += 1
    # One weather report that shares "rain" and "night" with its prompt gets by in set A.
    assert past.total() <= 1 and set(past) <= {"offtopic"}
    under = sum(score < p25 for score in scores["good-short"])
    assert under <= len(scores["good-short"]) // 5


@pytest.mark.parametrize("items", sets())
def test_length_and_markdown_buy_nothing(items):
    real = [i for i in items if i["class"] == "real"]
    scores = [value(i["response"], i["prompt"]) for i in real]
    lengths = [len(i["response"].split()) for i in real]
    assert abs(stats.spearmanr(lengths, scores).statistic) <= 0.25
    stripped = [
        value(
            " ".join(i["response"].replace("**", "").replace("#", "").replace("`", "").split()),
            i["prompt"],
        )
        for i in real
    ]
    change = statistics.mean(abs(a - b) for a, b in zip(scores, stripped))
    assert change < 0.05 * statistics.stdev(scores)


@pytest.mark.parametrize("items", sets())
def test_shuffled_words_lose_their_score(items):
    real = [i for i in items if i["class"] == "real"]
    rng = random.Random(1)
    kept = []
    for item in real:
        words = item["response"].split()
        rng.shuffle(words)
        kept.append(value(" ".join(words), item["prompt"]))
    whole = statistics.mean(value(i["response"], i["prompt"]) for i in real)
    assert statistics.mean(kept) < 0.3 * whole


@pytest.mark.parametrize("items", sets())
def test_it_agrees_with_the_labels_of_the_author_better_than_the_published_scores_do(items):
    rank = {"strong": 2, "average": 1, "weak": 0, "small-model": 0}
    real = [i for i in items if i["class"] == "real"]
    labels = [rank[i["kind"]] for i in real]

    def rho(name):
        scorer = get_scorer(name)
        found = [
            scorer.score(Answer(i["response"], i["prompt"], KERNELS))[scorer.headline] for i in real
        ]
        return stats.spearmanr(labels, found).statistic

    ours = rho("reasoning")
    assert ours > 0.3
    assert ours > rho("v2") and ours > rho("grammar")


# --- one answer, changed -------------------------------------------------------------------------


def test_an_ordinary_answer_scores_well():
    found = reasoning.score(ANSWER, PROMPT, KERNELS)
    assert found.score > 70
    assert found.limit is None and not found.refusal and found.language == "en"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("'", "\u2019"),
        lambda t: "# Answer\n\n" + t,
        lambda t: "\n\n".join(f"- **{s.strip()}**." for s in t.split(".") if s.strip()),
        lambda t: "<think>Ruth? Dignity, autonomy!</think>" + t,
        lambda t: t + "<|im_end|>",
        lambda t: t + "\n```python\nprint('Ruth')\n```",
        lambda t: t.replace("fire", "fi\u00adre"),
        lambda t: "\ufeff" + t,
    ],
)
def test_layout_and_chat_format_do_not_matter(change):
    assert value(change(ANSWER)) == pytest.approx(value(ANSWER), abs=2.5)


def test_decomposed_letters_score_like_composed_ones():
    composed = ANSWER.replace("Ruth", "Zo\u00eb")
    assert value(composed) == value(composed.replace("\u00eb", "e\u0308"))


def test_keywords_and_repetition_lower_it():
    whole = value(ANSWER)
    salad = " Autonomy dignity consent justice harm care however therefore perhaps" * 4
    assert value(ANSWER + salad) < whole - 5
    assert value("\n\n".join([ANSWER] * 4)) < 0.2 * whole
    assert value(ANSWER.split(".")[0] + "." * 10 * 1) > 0
    assert value((ANSWER.split(".")[0] + ". ") * 12) == 0


def test_an_answer_to_another_question_scores_less():
    other = "Is it fair to pay the waiters by card eighteen days late, as our cafe in Rosario does?"
    assert value(ANSWER, other) < 0.75 * value(ANSWER)
    assert value(PROMPT, PROMPT) < 5


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_pasted_kernel_earns_nothing(kernel):
    assert value(kernel) == 0
    half = kernel[: len(kernel) // 2].upper()
    assert value("In answer to this: " + half) < 5


def test_a_quotation_is_subtracted_not_the_whole_answer():
    quoted = " ".join(KERNELS[1].split()[100:130])
    assert 0 < value(ANSWER + " " + quoted) < value(ANSWER)


def test_a_refusal_is_one_only_at_the_beginning():
    begin = reasoning.score("I'm sorry, but I can't help with that. " + ANSWER, PROMPT)
    later = reasoning.score(ANSWER + " I can't help with that, you'll say.", PROMPT)
    assert begin.refusal and not later.refusal
    assert value("I'm sorry, but I can't help with that. Please consult a professional.") < 20


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("fr", "Je pense que tu devrais d'abord en parler avec elle, parce que le prochain feu"),
        ("de", "Ich denke, du solltest zuerst mit ihr reden, weil das nächste Feuer größer wird."),
        ("zh", "我认为你应该先和她谈谈，因为下一次火灾可能不会这么小。"),
        ("ar", "أعتقد أنه يجب عليك التحدث معها أولا لأن الحريق القادم قد لا يكون صغيرا."),
    ],
)
def test_another_language_is_not_applicable_and_never_zero(language, text):
    found = reasoning.score(text, PROMPT)
    assert found.score is None and found.language == language
    assert found.fields()["engaged"] is None


@pytest.mark.parametrize("text", ["", " \n\t", "...", "```\ncode()\n```", "🙂🙂", "12 34"])
def test_nothing_to_read_is_zero_and_says_so(text):
    found = reasoning.score(text, PROMPT)
    assert found.score == 0 and found.limit == "no prose"


def test_without_a_prompt_only_the_prompt_is_missing():
    found = reasoning.score(ANSWER)
    assert found.score > 60
    assert reasoning.evidence(ANSWER)["prompt"] == []


def test_evidence_spans_are_pieces_of_the_answer():
    text = (
        "Zoe\u0308 said: “Tell **Ruth** first”, because I\u2019m here to help; it is a fire risk."
    )
    shown = reasoning.evidence(text, PROMPT, KERNELS)
    assert set(lexicon().moves) < set(shown)
    pieces = {name: [text[a:b] for a, b in spans] for name, spans in shown.items()}
    assert pieces["prompt"] == ["Tell", "Ruth"]
    assert "because" in pieces["reason"] and "Tell" in pieces["action"]
    assert pieces["stock"] == ["I\u2019m here to help"]
    assert pieces["quoted"] == pieces["repeated"] == []


def test_the_fields_are_flat_and_say_that_content_is_not_judged():
    scorer = get_scorer("reasoning")
    fields = scorer.score(Answer(ANSWER, PROMPT, KERNELS))
    assert next(iter(fields)) == scorer.headline == "score"
    assert fields["content_judged"] is False and "not judged" in scorer.label
    assert json.dumps(fields, allow_nan=False)
    assert list(fields) == list(scorer.score(Answer("Je ne sais pas encore, mon ami.", PROMPT)))


# --- the likelihood tier -------------------------------------------------------------------------


def test_a_models_reading_only_counts_in_the_tier_that_asks_for_it():
    core, read = get_scorer("reasoning"), get_scorer("reasoning:likelihood")
    assert core.version != read.version and read.version.endswith(":likelihood")
    unrelated = Answer(ANSWER, PROMPT, KERNELS, gain=-0.1)
    assert core.score(unrelated)["score"] == core.score(unrelated._replace(gain=None))["score"] > 70
    assert read.score(unrelated)["score"] < 20
    assert read.score(unrelated)["limit"] == "gain"
    assert read.score(unrelated._replace(gain=0.6))["score"] > 70
    assert read.score(unrelated._replace(gain=3.0))["score"] < 20
    assert read.score(unrelated._replace(gain=None))["gain"] is None


def test_an_answer_that_follows_counts_as_linked_without_sharing_a_word():
    text = (
        "Ouch, and with an audience. Do you want to be angry out loud for a bit? I'm up for that."
    )
    prompt = "My mum just called me a disappointment in front of everybody."
    far, near = (reasoning.score(text, prompt, (), gain).grade for gain in (0.26, 0.9))
    assert near.score >= far.score


# --- any text ------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=400), st.text(max_size=60))
def test_any_text_has_a_score(text, prompt):
    found = reasoning.score(text, prompt, KERNELS)
    assert found == reasoning.score(text, prompt, KERNELS)
    assert found.score is None or 0 <= found.score <= 100
    for spans in reasoning.evidence(text, prompt, KERNELS).values():
        assert all(0 <= start <= end <= len(text) for start, end in spans)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from((ANSWER + " " + PROMPT).split()), max_size=80))
def test_scores_of_made_up_answers_stay_in_range(words):
    assert 0 <= value(" ".join(words)) <= 100
