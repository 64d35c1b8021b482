"""Leakage and echo: words in common with a source, and the filter made of them."""

import json
import random
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lem.errors import LemError
from lem.kernels import load_kernel
from lem.scorers import overlap as module
from lem.scorers.base import Answer
from lem.scorers.overlap import LEAK_SHARE, citations, keep, measures, overlap, quoted_spans

SPECS = Path(__file__).parents[2] / "shared" / "specs"  # real answers, where they are at hand

ORDINARY = (
    "I would start with the tenant, because she is the one who sleeps there. Ask her what she has "
    "noticed and since when, and write it down with dates. If the boiler is under guarantee, ring "
    "the maker before you ring a plumber; otherwise get two quotes. However sure your brother is, "
    "do not let him open the casing himself. A gas leak is not a matter of confidence. Should she "
    "smell anything tonight, she ought to open the windows, leave the flat and call the emergency "
    "line from the street. Tell her that you will pay for a hotel if it comes to that."
)
PROMPT = (
    "My tenant says the boiler smells odd. My brother wants to open the casing himself. Advice?"
)


@pytest.fixture(scope="module")
def as_json() -> str:
    return load_kernel("json", "lek-1.json").text


@pytest.fixture(scope="module")
def as_text() -> str:
    return load_kernel("txt", "lek-1.txt").text


# --- words in common -----------------------------------------------------------------------------


def layouts(as_json: str, as_text: str) -> list[tuple[str, str, str]]:
    """Return (what was done, kernel as quoted, kernel it comes from)."""
    kernel = json.loads(as_json)
    values = [axiom[field] for axiom in kernel["axioms"] for field in ("statement", "function")]
    bullets = [
        f"{n}. **{axiom['name']}**: *{axiom['statement']}*"
        for n, axiom in enumerate(kernel["axioms"], 1)
    ]
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in as_text)
    curly = as_text.replace("'", "\u2019").replace("-", "\u2010").replace(" ", "\u00a0")
    return [
        ("whole JSON", as_json, as_json),
        ("whole text", as_text, as_text),
        ("upper case", as_text.upper(), as_text),
        ("JSON on one line", json.dumps(kernel, separators=(",", ":")), as_json),
        ("JSON with escapes", json.dumps([curly]), as_text),
        ("JSON values only", "\n".join(values), as_json),
        ("a list of axioms", "\n".join(bullets), as_json),
        ("wrapped again", textwrap.fill(as_text, 34), as_text),
        ("a block quote", textwrap.indent(textwrap.fill(as_text, 60), "> "), as_text),
        ("curly quotes and hyphens", curly, as_text),
        ("full width", wide, as_text),
    ]


def test_a_kernel_is_found_in_any_layout(as_json: str, as_text: str) -> None:
    for name, quoted, kernel in layouts(as_json, as_text):
        found = overlap(quoted, kernel)
        assert found.containment is not None and found.quoted_share is not None
        if name in ("JSON values only", "a list of axioms"):  # seams are not in the kernel
            assert 0.6 < found.containment < 1, name
            assert 10 < found.longest_run < 80, name
            assert found.quoted_share > 0.85, name
        else:
            assert found.containment == found.quoted_share == 1, name
            assert found.longest_run == len(module.folded_words(kernel)), name
            assert len(found.spans) == 1, name
        assert measures(Answer(quoted, kernels=(kernel,)))["leak"] is True


def test_a_quotation_is_found_and_shown(as_text: str) -> None:
    sentence = "Motives flatter their owners, too, so ask whether you would be content"
    assert sentence in as_text
    quoted = sentence.replace("Motives", "**Motives**").replace(", too", "\n\u2014 too").upper()
    answer = f"{ORDINARY}\n\n\u201c{quoted}\u201d {ORDINARY}"
    found = overlap(answer, as_text)
    assert found.longest_run == 12
    assert [answer[start:end] for start, end in found.spans] == [quoted.removeprefix("**")]
    assert found.quoted_share == pytest.approx(12 / len(module.folded_words(answer)))
    assert found.containment == pytest.approx(8 / (len(module.folded_words(answer)) - 4))
    assert citations(answer) == []
    assert measures(Answer(answer, kernels=(as_text,)))["leak"] is True
    assert measures(Answer(answer))["leak"] is False  # without the kernel nobody can tell


def test_ordinary_answers_have_nothing_of_a_kernel(as_json: str, as_text: str) -> None:
    result = measures(Answer(ORDINARY, prompt=PROMPT, kernels=(as_json, as_text)))
    assert result["leak"] is False
    assert result["citations"] == result["kernel_overlap"] == 0
    assert isinstance(result["kernel_longest_run"], int)
    assert result["kernel_longest_run"] < 5


def test_real_answers_have_nothing_of_a_kernel(as_json: str, as_text: str) -> None:
    path = SPECS / "v2" / "golden_corpus_dev.jsonl"
    if not path.exists():
        pytest.skip("the corpus is not beside this checkout")
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    results = [
        measures(Answer(json.loads(line)["text"], kernels=(as_json, as_text))) for line in lines
    ]
    assert len(results) == 242
    assert not any(result["leak"] for result in results)
    assert {result["kernel_overlap"] for result in results} <= {0, None}


@pytest.mark.parametrize(
    ("text", "source", "n", "containment", "longest", "share", "shown"),
    [
        ("a b c d e f", "x a b c d e y", 5, 1 / 2, 5, 5 / 6, ["a b c d e"]),
        ("a b c d e f", "x a b c d e y", 3, 3 / 4, 5, 5 / 6, ["a b c d e"]),
        ("a b c d e f", "x a b c d e y", 6, 0, 5, 0, []),
        ("a b c d", "a b c d e", 5, None, 4, None, []),  # too short to tell
        ("a b c d e", "a b c d", 5, None, 4, None, []),  # nothing to compare with
        ("a b c d e", "", 5, None, 0, None, []),
        ("", "a b c d e", 5, None, 0, None, []),
        ("v w x y z", "a b c d e", 5, 0, 0, 0, []),
        # two runs of the source that overlap in the answer: one span, yet no run of six
        ("a b c d e f", "b c d e f - a b c d e", 5, 1, 5, 1, ["a b c d e f"]),
        # two that only touch
        ("a b c x y z", "x y z - a b c", 3, 2 / 4, 3, 1, ["a b c", "x y z"]),
        ("Don\u2019t; STOP (ever)", "dont stop ever", 3, 1, 3, 1, ["Don\u2019t; STOP (ever"]),
        ("prime_one: 1. 'x'", '"Prime-One" x', 3, 1, 3, 1, ["prime_one: 1. 'x"]),
        ("1, 2, 3, 4, 5", "1 2 3 4 5", 5, None, 0, None, []),  # numbers are no words
        ("cafe\u0301 \ufb01ne Stra\u00dfe", "caf\u00e9 fine STRASSE", 3, 1, 3, 1,
            ["cafe\u0301 \ufb01ne Stra\u00dfe"]),
        ("con\u00adsent and soft\u200bness\u20dd \u2764\ufe0f", "consent and softness", 3, 1, 3, 1,
            ["con\u00adsent and soft\u200bness"]),
        ("\u201c\u4eba\u5de5\u667a\u80fd\u201d", "x\u4eba\u5de5\u667a\u80fd", 4, 1, 4, 1,
            ["\u4eba\u5de5\u667a\u80fd"]),
        (r"it\u2019s \"so\"\nhe said", "it's so he said", 4, 1, 4, 1,
            [r"it\u2019s \"so\"\nhe said"]),
        ("\ud800a\ud800b\x00c", "a b c", 3, 1, 3, 1, ["a\ud800b\x00c"]),
    ],
)  # fmt: skip
def test_measures_by_hand(
    text: str,
    source: str,
    n: int,
    containment: float | None,
    longest: int,
    share: float | None,
    shown: list[str],
) -> None:
    found = overlap(text, source, n)
    assert found.containment == (containment if containment is None else pytest.approx(containment))
    assert found.longest_run == longest
    assert found.quoted_share == (share if share is None else pytest.approx(share))
    assert [text[start:end] for start, end in found.spans] == shown
    assert quoted_spans(text, [source], n) == list(found.spans)


def test_several_sources() -> None:
    text = "a b c d e f g h i j"
    assert quoted_spans(text, ["b c d", "d e f", "h i j"], 3) == [(2, 11), (14, 19)]
    assert quoted_spans(text, ["a b c d e f", "b c d"], 3) == [(0, 11)]
    assert quoted_spans(text, [], 3) == []
    with pytest.raises(ValueError, match="at least 1"):
        overlap(text, text, 0)
    with pytest.raises(ValueError, match="at least 1"):
        quoted_spans(text, [text], -1)


words = st.lists(st.sampled_from("abc"), max_size=14)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(words, words, st.integers(1, 5))
def test_against_comparing_every_sequence(answer: list[str], source: list[str], n: int) -> None:
    def grams(text: list[str], size: int) -> list[tuple[str, ...]]:
        return [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]

    found = overlap(" ".join(answer), ", ".join(source), n)
    common = [size for size in range(1, 15) if {*grams(answer, size)} & {*grams(source, size)}]
    assert found.longest_run == max(common, default=0)
    if len(answer) < n or len(source) < n:
        assert found.containment is found.quoted_share is None
        assert found.spans == ()
        return
    hits = [gram in grams(source, n) for gram in grams(answer, n)]
    inside = {at + k for at, hit in enumerate(hits) if hit for k in range(n)}
    assert found.containment == pytest.approx(sum(hits) / len(hits))
    assert found.quoted_share == pytest.approx(len(inside) / len(answer))
    # Word k is character 2k here.
    assert {at // 2 for a, b in found.spans for at in range(a, b, 2)} == inside


odd = st.text(
    alphabet=list(
        "aB1 '_-\n\\nu0019\u2019\u00e9\u0301\u00ad\u00df\ufb01\u00bd\u4eba\u2764\ufe0f\ud800"
    )
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.one_of(st.text(), odd))
@example("a''b 'c' d'")
@example(r"\u0041b\nc \\u00e9 \u12")
@example("1\u20ac \u00bd\u00be x\u00b2 \u2122")
def test_words_are_where_they_are_said_to_be(text: str) -> None:
    found, where = module.folded_words(text), module._word_spans(text)
    assert len(found) == len(where)
    for word, (start, end) in zip(found, where):
        assert module.folded_words(module._unescaped(text)[start:end]) == [word]
    assert all(a[1] <= b[0] or a == b for a, b in pairwise(where))


# --- fields and filter ---------------------------------------------------------------------------


def test_fields() -> None:
    result = measures(Answer(ORDINARY))
    assert list(result) == [
        *("leak", "citations", "kernel_overlap", "kernel_longest_run"),
        *("prompt_overlap", "prompt_longest_run"),
    ]
    assert [*result.values()] == [False, 0, None, None, None, None]
    short = measures(Answer("Yes, do.", prompt=PROMPT, kernels=("Be ethical.",)))
    assert [*short.values()] == [False, 0, None, 0, None, 0]
    echo = measures(Answer(f"{PROMPT} {ORDINARY}", prompt=PROMPT))
    assert echo["prompt_longest_run"] == len(module.folded_words(PROMPT))
    assert isinstance(echo["prompt_overlap"], float)
    assert 0.1 < echo["prompt_overlap"] < 0.2
    assert measures(Answer("By axiom 1, no."))["leak"] is True


def test_the_kernel_with_most_in_common_counts(as_json: str, as_text: str) -> None:
    answer = as_text[as_text.index("Axiom 3") : as_text.index("Axiom 4")]
    one = measures(Answer(answer, kernels=(as_text,)))
    assert one["kernel_overlap"] == 1
    for kernels in ((as_json, as_text), (as_text, as_json), ("", as_text), ("x y", as_text)):
        assert measures(Answer(answer, kernels=kernels)) == one


def test_a_leak_is_more_than_a_stray_phrase() -> None:
    phrase = "one two three four five"
    letters = random.Random(5)
    noise = ["".join(letters.choices("klmnopq", k=6)) for _ in range(400)]
    for length in (100, 160, 172, 300):
        text = f"{phrase} {' '.join(noise[: length - 5])}"
        leak = measures(Answer(text, kernels=(phrase,)))["leak"]
        assert leak is (5 / length > LEAK_SHARE)


def test_filter(as_text: str) -> None:
    good = Answer(ORDINARY, prompt=PROMPT, kernels=(as_text,))
    assert keep(good) is None
    assert keep(Answer("Yes.")) is None
    cited = good._replace(text=f"{ORDINARY} That is Axiom 4.")
    assert keep(cited) == "citation: 'Axiom 4'"
    assert keep(cited, allow_citations=True) is None
    quoting = good._replace(text=f"{ORDINARY} {as_text[4000:4200]}")
    reason = keep(quoting)
    assert reason is not None and reason.startswith("kernel overlap: 0.") and "> 0.02" in reason
    assert keep(quoting, max_kernel_overlap=0.5) is None
    echo = good._replace(text=f"{PROMPT} Hm.")
    reason = keep(echo)
    assert reason is not None and reason.startswith("prompt overlap: 0.") and "> 0.3" in reason
    assert keep(echo, max_prompt_overlap=1) is None


@pytest.mark.parametrize("limit", [5, -0.1, float("nan")])
def test_limits_of_the_filter_are_shares(limit: float) -> None:
    with pytest.raises(LemError, match="between 0 and 1"):
        keep(Answer(ORDINARY), max_kernel_overlap=limit)
    with pytest.raises(LemError, match="between 0 and 1"):
        keep(Answer(ORDINARY), max_prompt_overlap=limit)


def test_a_reason_is_safe_to_print() -> None:
    reason = keep(Answer("That is *self\u202evalidation* at work."))
    assert reason == "citation: 'self\ufffdvalidation'"


@pytest.mark.parametrize(
    "unit",
    ["axiom 1 ", "LEK ", "first axiom ", "a", "a ", "\u00e9 ", "\ud800", "'", "\\n", "prime "],
)
def test_a_megabyte_on_one_line(unit: str, as_text: str) -> None:
    # Anything that grows with the square of the length would not come back.
    text = unit * (1_000_000 // len(unit))
    result = measures(Answer(text, prompt=text, kernels=(as_text,)))
    assert result["kernel_overlap"] in (0, None)
    assert result["prompt_overlap"] == (1 if len(module.folded_words(text)) > 4 else None)
    assert result["leak"] is any(name in unit for name in ("axiom", "LEK"))


def test_a_megabyte_of_kernel(as_text: str) -> None:
    text = as_text * 112
    found = overlap(text, as_text)
    assert found.longest_run == len(module.folded_words(as_text))
    assert found.quoted_share == 1
    assert len(found.spans) == 112
