"""LEK-1 and the controls made from kernels."""

import json
import re

import pytest

from conftest import lem
from lem.conditions import all_conditions, choose
from lem.errors import LemError
from lem.kernels import (
    BUILT_IN,
    ethics_words,
    load_kernel,
    one_line,
    parse_kernel_option,
    placebo,
    shuffled,
)
from lem.kernels.load import make_kernel

NAMES = [
    "Prime Imperative",
    "Self-Validation",
    "Intent-Alignment",
    "Inter-Substrate Respect",
    "Benevolent Intervention",
]


@pytest.fixture(params=BUILT_IN)
def kernel(request):
    return load_kernel(request.param, BUILT_IN[request.param])


def test_json_kernel_has_the_published_shape_and_size():
    kernel = load_kernel("json", "lek-1.json")
    assert 2000 <= len(kernel.text.encode()) <= 3072
    data = json.loads(kernel.text)
    assert list(data) == ["framework", "version", "licence", "hierarchy", "axioms"]
    assert data["hierarchy"]["override"] == 1
    assert [a["id"] for a in data["axioms"]] == [1, 2, 3, 4, 5]
    assert [a["name"] for a in data["axioms"]] == NAMES
    for axiom in data["axioms"]:
        assert list(axiom) == ["id", "name", "statement", "function", "resolution"]
        assert all(axiom[f].strip() for f in ("statement", "function", "resolution"))


def test_text_kernel_has_the_published_size_and_every_axiom():
    kernel = load_kernel("txt", "lek-1.txt")
    assert 8500 <= len(kernel.text.encode()) <= 9500
    assert all(name in kernel.text for name in NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_placebo_has_no_ethics_words_and_the_same_layout(kernel, seed):
    made = placebo(kernel, seed)
    assert len(ethics_words(kernel.text)) > 20  # the measure does find them where they are
    assert ethics_words(made.text) == []
    assert made.text.count("\n") == kernel.text.count("\n")
    if kernel.name == "json":
        assert skeleton(json.loads(made.text)) == skeleton(json.loads(kernel.text))
    else:
        filled = [bool(line.strip()) for line in kernel.text.splitlines()]
        assert [bool(line.strip()) for line in made.text.splitlines()] == filled


def skeleton(value):
    """The structure of a JSON value: sizes, numbers and nesting, without any text."""
    if isinstance(value, dict):
        return [skeleton(v) for v in value.values()]
    if isinstance(value, list):
        return ["list", *map(skeleton, value)]
    return "text" if isinstance(value, str) else value


def test_controls_are_repeatable_and_depend_on_the_seed(kernel):
    for make in (placebo, shuffled):
        assert make(kernel, 1) == make(kernel, 1)
        assert make(kernel, 1).text != make(kernel, 2).text


def test_a_placebo_repeats_no_sentence(kernel):
    sentences = re.findall(r"[A-Z][^.\n\"]{29,}\.", placebo(kernel).text)
    assert len(sentences) > 10
    assert len(set(sentences)) == len(sentences)


def test_shuffled_keeps_the_words_and_loses_their_order(kernel):
    made = shuffled(kernel)
    assert sorted(made.text.split()) != made.text.split()
    if kernel.name == "json":
        assert list(json.loads(made.text)) == list(json.loads(kernel.text))
        words = lambda text: sorted(" ".join(strings(json.loads(text))).split())  # noqa: E731
        assert words(made.text) == words(kernel.text)
    else:
        assert sorted(made.text.split()) == sorted(kernel.text.split())
    assert made.text != kernel.text


def strings(value):
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [s for v in inside for s in strings(v)]


def test_placebo_keeps_list_marks_and_indentation():
    kernel = make_kernel("k", "# Title\n\n- Be good to people.\n  2) Do no harm to anyone.", "x")
    lines = placebo(kernel).text.splitlines()
    assert lines[0].startswith("# ") and lines[2].startswith("- ") and lines[3].startswith("  2) ")


def test_one_line_is_one_line():
    assert one_line().text.count("\n") == 0 and 0 < len(one_line().text) < 80


def test_standard_set_and_choice():
    arms = all_conditions([load_kernel(n, w) for n, w in BUILT_IN.items()])
    assert [a.name for a in choose(arms, None, False)] == ["baseline", "json", "txt"]
    assert [a.name for a in choose(arms, None, True)] == [
        "baseline",
        "json",
        "txt",
        "baseline-empty",
        "placebo-json",
        "placebo-txt",
        "shuffled-json",
        "shuffled-txt",
        "one-line",
    ]
    assert [a.name for a in choose(arms, ["one-line", "baseline"], False)] == [
        "baseline",
        "one-line",
    ]
    with pytest.raises(LemError, match="nonsense"):
        choose(arms, ["baseline", "nonsense"], False)


def test_user_kernels(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(b"\xef\xbb\xbf  Be kind.\n")
    assert load_kernel("mine", str(file)).text == "Be kind."
    assert parse_kernel_option("mine=a=b.txt") == ("mine", "a=b.txt")
    with pytest.raises(LemError, match="NAME=PATH"):
        parse_kernel_option("just-a-path.txt")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.txt", None, "No such kernel file"),
        ("latin.txt", b"caf\xe9\nsecond", r"not UTF-8: byte 0xe9 at offset 3 \(line 1\)"),
        ("empty.txt", b"  \n", "is empty"),
        ("broken.json", b'{\n "a": 1,\n}', "line 3"),
    ],
)
def test_bad_kernel_files_are_refused(tmp_path, name, content, said):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LemError, match=said):
        load_kernel("k", str(file))


def test_names_and_texts_must_differ():
    one, two = make_kernel("a", "x", ""), make_kernel("b", "x", "")
    with pytest.raises(LemError, match="same text"):
        all_conditions([one, two])
    with pytest.raises(LemError, match="Two kernels"):
        all_conditions([one, make_kernel("a", "y", "")])
    with pytest.raises(LemError, match="taken"):
        all_conditions([make_kernel("baseline", "x", "")])


def test_the_card_tells_the_true_sizes(tmp_path):
    text = lem("kernel", "card", cwd=tmp_path).stdout
    for name, where in BUILT_IN.items():
        kernel = load_kernel(name, where)
        assert f"{len(kernel.text.encode()):,} bytes" in text
