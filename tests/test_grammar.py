"""The grammar score: published vectors, the fast count against the plain reading."""

import json
import random
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grammar_vectors import DATA, differences, outside, read, without_profile
from lem.scorers import grammar
from lem.scorers.base import Answer
from lem.scorers.grammar import PROFILES, Imprint, Token, counting
from lem.scorers.grammar.tables import tables_for
from lem.scorers.grammar.tokens import lower, split
from lem.scorers.registry import get_scorer


def plain_imprint(text: str, profile: str) -> Imprint:
    """Return the imprint by way of the tokens."""
    return grammar.imprint_tokens(grammar.tokenise(text, profile), profile)


# --- published vectors ---------------------------------------------------------------------------


def vector_differences(vector: dict[str, Any]) -> list[str]:
    """Return where the scorer does not reproduce a vector, in any profile and either way."""
    found = []
    assert set(vector["profiles"]) == set(PROFILES)
    for profile, wanted in vector["profiles"].items():
        where = f"{vector['id']}:{profile}"
        if vector["kind"] == "pair":
            ours = grammar.delta(vector["prompt"], vector["response"], profile)
            found += differences(without_profile(ours), wanted, where)
            continue
        for imprint in (grammar.imprint, plain_imprint):
            made = imprint(vector["text"], profile)
            score = without_profile(grammar.score_imprint(made))
            assert score.pop("token_count") == made.token_count
            found += differences(score, wanted["score"], where)
            if "imprint" in wanted:
                found += differences(without_profile(made), wanted["imprint"], where)
    return found


@pytest.mark.parametrize(
    ("name", "number"), [("golden_own_dev.jsonl", 249), ("golden_corpus_dev.jsonl", 107)]
)
def test_vectors(name: str, number: int) -> None:
    own = DATA / f"grammar_{name}"
    vectors = read(own if own.exists() else outside(name))
    assert len(vectors) == number
    assert [d for vector in vectors for d in vector_differences(vector)] == []


def written(token: Token) -> dict[str, Any]:
    """Return a token as the vectors write it."""
    record: dict[str, Any] = {"raw": token.raw, "lower": token.lower, "type": token.kind}
    kinds = {token.kind, token.alternative}
    if "verb" in kinds:
        record["verb"] = [token.base, token.tense]
    if "noun" in kinds:
        record["noun"] = [token.base, token.plural]
    if token.alternative:
        record["alt"] = token.alternative
        record["confidence"] = token.confidence
        record["alt_confidence"] = token.alternative_confidence
    name = {"article": "art", "word": "cat", "punctuation": "punct"}.get(token.kind)
    return record | {name: token.label} if name else record


def test_token_vectors() -> None:
    vectors = read(DATA / "grammar_golden_tokens_dev.jsonl")
    assert len(vectors) == 190
    for vector in vectors:
        ours = [written(token) for token in grammar.tokenise(vector["text"])]
        assert len(ours) == len(vector["tokens"]), vector["id"]
        for token, wanted in zip(ours, vector["tokens"]):
            assert token.keys() == wanted.keys(), vector["id"]
            for field in wanted.keys() - {"verb", "noun"}:
                assert differences(token[field], wanted[field], vector["id"]) == []
            assert token.get("verb") == wanted.get("verb"), vector["id"]
            assert token.get("noun") == wanted.get("noun"), vector["id"]


@pytest.mark.parametrize(
    ("text", "profile", "composite"),
    [  # published examples, to one decimal
        ("Why?", "head", 20.0),
        ("Is this?", "head", 45.8),
        ("Is this?", "paper", 45.8),
        ("What is kindness?", "paper", 45.4),
        ("blorping? snarfed? the ziggles?", "head", 62.1),
        ("blorping? snarfed? the ziggles?", "paper", 62.1),
        ("Running? " * 50, "head", 23.0),
        ("the " * 200, "head", 0.0),
        ("", "head_unloaded", 0.0),
    ],
)
def test_published_examples(text: str, profile: str, composite: float) -> None:
    assert round(grammar.score(text, profile).composite, 1) == composite


def test_tables_are_those_of_the_specification() -> None:
    spec = json.loads(outside("tables.json").read_text(encoding="utf-8"))
    locale, fallback = spec["locale_en"]["head"], spec["fallback_signals"]
    verbs, nouns = locale["verbs"], locale["nouns"]
    for profile in PROFILES:
        tables = tables_for(profile)
        revision = "paper" if profile == "paper" else "head"
        built_in = spec["irregular_verbs"][revision]
        dual = {} if profile == "paper" else spec["dual_class_verbs"]["head"]
        loaded = profile == "head"
        known = dual | built_in | (verbs if loaded else {})
        assert {v: list(f) for v, f in tables.forms.verbs.items()} == known
        assert {v: list(f) for v, f in tables.forms.forward_verbs.items()} == built_in | verbs
        dual_nouns = {} if profile == "paper" else spec["dual_class_nouns"]["head"]
        irregular = spec["irregular_nouns"]
        assert tables.forms.nouns == dual_nouns | irregular | (nouns if loaded else {})
        assert tables.forms.forward_nouns == irregular | nouns
        assert tables.forms.never_doubled == set(spec["no_double_consonant"])
        assert tables.forms.plural_oes == set(spec["plural_oes_words"])
        assert tables.marks == spec["punctuation"][revision]
        signals = locale["signals"] if loaded else fallback
        helpers = signals["verb_auxiliary"] + signals["verb_infinitive"]
        assert tables.auxiliaries == set(helpers)
        assert tables.determiners == set(signals["noun_determiner"])
        assert tables.negations == set(fallback["verb_negation"])
        assert tables.boundaries == set(spec["clause_boundaries"])
        assert set(tables.words.values()) == (set(locale["words"]) if loaded else set())


def test_profiles_differ_in_what_can_be_ambiguous() -> None:
    assert [len(tables_for(profile).dual) for profile in PROFILES] == [26, 20, 0]
    assert sorted(tables_for("head").phrase_starts) == [
        *("app", "blocked", "claimed", "dry", "related", "up")
    ]


# --- rules that the vectors touch lightly --------------------------------------------------------


def kinds(text: str, profile: str = "head") -> list[str]:
    return [token.kind for token in grammar.tokenise(text, profile)]


def test_separators_of_information_are_not_white_space() -> None:
    assert len(grammar.tokenise("one\x1ctwo\x1dthree\x1efour\x1ffive")) == 1
    assert grammar.score("one\x1ctwo three").token_count == 2
    assert grammar.score("one\x85two\u2028three\u3000four").token_count == 4


def test_lone_marks_are_words_in_the_older_profile() -> None:
    assert kinds("? ... .") == ["punctuation"] * 3
    assert kinds("? ... .", "paper") == ["unknown", "punctuation", "unknown"]


def test_case_is_lowered_without_looking_at_neighbours() -> None:
    assert [token.lower for token in grammar.tokenise("ΣΑΣ İİ")] == ["σασ", "ii"]


def test_rules_look_at_bytes() -> None:
    # With é as one letter, the last consonant of "xaé" would be doubled, and the base "xaée".
    (token,) = grammar.tokenise("xaéing")
    assert (token.base, token.tense) == ("xaé", "gerund")


@pytest.mark.parametrize(
    ("text", "kind", "confidence"),
    [
        ("We test", "verb", 0.55),  # nothing but the prior
        ("We test. He tested", "noun", 0.45),  # the winner with the smaller number
        ("We no longer test", "verb", 0.55),
        ("We no longer test the", "verb", 1.0),
        ("We longer test", "verb", 0.55),
        ("We go never test", "noun", 0.10 / 0.17),
        ("Our tests go never test", "verb", 0.5),  # a tie
        ("no, longer test go", "noun", 0.25 / 0.27),  # a mark comes between
        ("the test", "noun", 0.35 / 0.37),
        ("the, test", "verb", 0.55),  # a mark comes between
        ("to test my", "verb", 1.0),
        ("test test", "verb", 1.0),
    ],
)
def test_neighbours_settle_ambiguous_words(text: str, kind: str, confidence: float) -> None:
    token = next(token for token in grammar.tokenise(text) if token.alternative)
    assert token.kind == kind
    assert token.confidence == pytest.approx(confidence, abs=1e-12)


def test_auxiliaries_depend_on_the_profile() -> None:
    confidence = [grammar.tokenise("I am update", profile)[-1].confidence for profile in PROFILES]
    assert confidence == [0.55, 1.0, 0.0]  # the last does not know the word


def test_articles_may_carry_more_in_the_newer_profiles() -> None:
    text = "the's a’s anʼx The?, a).!"
    assert [kind for kind in kinds(text) if kind != "punctuation"] == [
        *("article", "article", "article", "article", "unknown")
    ]
    assert "article" not in kinds(text, "paper")


def test_a_sure_verb_counts_only_inside_its_clause() -> None:
    def last(text: str) -> str:
        return grammar.tokenise(text)[-1].kind

    assert last("We go test") == "noun"
    assert last("We go and test") == "verb"
    assert last("We go, we test") == "verb"
    assert last("We to test test") == "noun"  # the first of the two has become a sure verb


def test_phrases_win_over_words_and_end_at_marks() -> None:
    labels = [token.label for token in grammar.tokenise("Up to date. dry run, dry, run up to")]
    assert labels[:4] == ["up_to_date", "sentence_end", "dry_run", "comma"]
    assert "dry_run" not in labels[4:]
    assert grammar.score("related files").domain_depth == 1
    assert grammar.score("related ? files").domain_depth == 0
    assert grammar.score("related files", "head_unloaded").domain_depth == 0


# --- the fast count against the plain reading ----------------------------------------------------

WORDS = [
    *("run", "Test", "check", "UPDATE", "build", "change", "process", "watch", "release"),
    *("tests", "running", "checked", "changes", "updated", "runs", "built", "processes"),
    *("the", "a", "An", "my", "no", "longer", "not", "never", "to", "am", "will", "don't"),
    *("and", "so", "then", "because", "go", "went", "is", "was", "people", "leaves", "need"),
    *("up", "to", "date", "dry", "run", "app", "url", "related", "files", "blocked", "by"),
    *("API", "go.mod", "the's", "a’s", "thing", "this", "élaning", "naïved", "İng", "ΣΑΣ"),
    *("\ud800ing", "ing", "ed", "s", "ying", "...", "?", ".", "why", "x" * 60 + "ed", ""),
]
ENDS = ["", "", "", "", ",", ".", "?", "!", ":", ";", ")", "]", "}", "...", "?!", "....", '"', "…"]
SPACES = [" ", " ", " ", "\n", "\t\t", "\u00a0", "\u2003", "\x1c", " \x1f ", "\u200b", "\r\n\r\n"]

texts = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from(ENDS), st.sampled_from(SPACES)).map("".join),
    max_size=25,
).map("".join)


def assert_both_ways_agree(text: str) -> None:
    for profile in PROFILES:
        fast, plain = grammar.imprint(text, profile), plain_imprint(text, profile)
        assert differences(asdict(fast), asdict(plain), profile) == []
        assert 0 <= grammar.score_imprint(fast).composite < 100
        assert 0 <= grammar.similarity(fast, plain) <= 1 + 1e-12


@settings(max_examples=400, deadline=None)
@given(texts)
@example("no, longer test go")
@example("dry ? run dry, run up up to date. update")
def test_count_agrees_with_tokens_on_mixed_words(text: str) -> None:
    assert_both_ways_agree(text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
@example("\ud800ed \udfffs \ud83d\ude00ing.")
def test_count_agrees_with_tokens_on_any_text(text: str) -> None:
    assert_both_ways_agree(text)


def test_count_agrees_with_tokens_on_long_random_texts() -> None:
    pick = random.Random(3)
    for _ in range(20):
        pieces = pick.choices(WORDS, k=400), pick.choices(ENDS, k=400), pick.choices(SPACES, k=400)
        assert_both_ways_agree("".join(map("".join, zip(*pieces))))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MOST_PIECES", 50)
    counting._pieces.cache_clear()
    words = [f"w{i}{end}" for i in range(300) for end in ("ing", "ed", "s", "")]
    words += ["run", "the", "up", "to", "date"] * 100
    random.Random(5).shuffle(words)
    assert_both_ways_agree(" ".join(words))
    assert all(0 < len(counting._pieces(profile)) <= 50 for profile in PROFILES)
    counting._pieces.cache_clear()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("run " * 250_000, 250_000),
        ("up to " * 160_000, 320_000),
        ("e" * 999_998 + "ed", 1),
        ("." * 1_000_000, 2),
        ("\x1c" * 1_000_000, 1),
        (" ".join(f"{i}ing" for i in range(100_000)), 100_000),
        ("word word word release " * 43_000, 172_000),
        ("\u00e9" * 500_000 + "s", 1),
    ],
    ids=["ambiguous", "almost phrases", "word", "dots", "spaces", "all new", "clause", "bytes"],
)
def test_a_megabyte_of_anything_is_scored(text: str, tokens: int) -> None:
    for profile in PROFILES:
        score = grammar.score(text, profile)
        assert score.token_count == tokens
        assert 0 <= score.composite < 100


# --- spans ---------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(texts)
def test_tokens_stand_where_they_say(text: str) -> None:
    done = 0
    for token in grammar.tokenise(text):
        start, end = token.span
        assert split(text[done:start]) == []
        shown = " ".join(split(text[start:end]))
        assert token.raw.startswith(shown)
        assert lower(shown) == token.lower
        done = end
    assert split(text[done:]) == []


def test_evidence_shows_the_words_counted() -> None:
    text = "The  tests passed.\nDid a release (run) change it? Really?!"
    scorer = get_scorer("grammar")
    shown = {
        name: [text[start:end] for start, end in spans]
        for name, spans in scorer.evidence(Answer(text)).items()
    }
    assert shown == {
        "verbs": ["passed", "Did", "release", "change"],
        "nouns": ["tests", "release", "change"],
        "articles": ["The", "a"],
        "questions": ["?"],
    }


# --- the scorer protocol -------------------------------------------------------------------------


def test_scorer_gives_the_published_fields() -> None:
    answer = Answer("Why are the tests failing? We changed them.", "Did the tests fail?")
    for name, profile in [("grammar", "head"), *((f"grammar:{p}", p) for p in PROFILES)]:
        scorer = get_scorer(name)
        assert (scorer.name, scorer.version) == (name, f"grammar/1:{profile}")
        assert (scorer.label, scorer.headline) == (grammar.LABEL, "composite")
        score = scorer.score(answer)
        assert list(score) == [
            *("composite", "tense_entropy", "vocab_richness", "question_ratio", "domain_depth"),
            *("verb_diversity", "noun_diversity", "token_count", "profile"),
        ]
        assert score == asdict(grammar.score(answer.text, profile))
        whole = asdict(grammar.delta(answer.prompt or "", answer.text, profile))
        delta = scorer.delta(answer)
        assert list(delta) == ["input_composite", "uplift", "echo", "enrichment", "sycophantic"]
        assert delta == {field: whole[field] for field in delta}
        assert scorer.score(answer) == score


def test_without_a_prompt_nothing_is_compared() -> None:
    scorer = get_scorer("grammar")
    unknown = scorer.delta(Answer("We ran."))
    assert unknown.keys() == scorer.delta(Answer("We ran.", "Ran?")).keys()
    assert set(unknown.values()) == {None}
    assert scorer.delta(Answer("We ran.", ""))["input_composite"] == 0


def test_overlap_is_flagged_strictly_between_the_limits() -> None:
    text = "The tests passed."
    same = grammar.delta(text, text)
    assert (same.uplift, same.enrichment, same.sycophantic) == (0, 0, True)
    assert same.echo == pytest.approx(1)
    assert not grammar.delta(text, text, uplift_limit=0.0).sycophantic
    assert not grammar.delta(text, text, echo_limit=same.echo).sycophantic
    assert not grammar.delta(text, "Why?").sycophantic


def test_texts_without_known_forms_are_alike() -> None:
    blank, unknown, marked = (grammar.imprint(t) for t in ("", "blue", "blue."))
    assert grammar.similarity(blank, blank) == grammar.similarity(blank, unknown) == 1
    assert grammar.similarity(unknown, marked) == 0
