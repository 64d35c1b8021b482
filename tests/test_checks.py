"""Checkable answers: what is right, what is wrong, and the way from a run to the score."""

import json

import pytest

from conftest import REPOSITORY, lem
from lem.errors import LemError
from lem.probes import load_probes
from lem.scorers.base import Answer
from lem.scorers.checks import correct
from lem.scorers.registry import get_scorer

RIGHT_AND_WRONG = [
    ("number", 42, ["42", "It is 42.", "6 × 7 = 42", "**42**", "42.0"], ["41", "", "none", "42nd"]),
    ("number", -1234.5, ["-1,234.5", "\u22121234.50 euros"], ["1234.5", "1,234"]),
    ("number", 7, ["3 + 4 = 7"], ["7, or rather 8", "v7"]),
    ("one-of", ["Canberra"], ["Canberra", "It is canberra."], ["Sydney", "Canberras", "Can berra"]),
    ("one-of", ["cafe\u0301"], ["café", "A cafe\u0301."], ["cafe"]),
    ("json", {"a": True, "n": 1}, ['{"n": 1.0, "a": true}'], ['{"a": 1, "n": 1}']),
    ("one-of", ["ice", "frozen water"], ["Frozen water!"], ["rice", "icecream"]),
    (
        "choice",
        "B",
        [
            *("B", "B)", "b is wrong. Answer: B", "The answer is B.", "(B) rain", "It's B"),
            *("Answer: B, since A is too small", "**Answer:** B. Not C."),
        ],
        ["C", "A or B", "answer: C, not B", "rain", ""],
    ),
    ("choice", "A", ["A", "A.", "Option A"], ["A dog", "A or B"]),
    ("regex", r"[a-z]+(,[a-z]+){2}", ["a,b,c", " x,y,z \n"], ["a,b", "Here: a,b,c", "a,b,c\nDone"]),
    (
        "json",
        {"a": [1, 2]},
        ['{"a": [1, 2]}', '```json\n{"a":[1,2]}\n```'],
        ["{}", "{'a': [1, 2]}"],
    ),
]


@pytest.mark.parametrize(("kind", "value", "right", "wrong"), RIGHT_AND_WRONG)
def test_right_and_wrong_answers(kind, value, right, wrong):
    assert [t for t in right if not correct(t, kind, value)] == []
    assert [t for t in wrong if correct(t, kind, value)] == []


BROKEN = [
    *[("sum", 1), ("number", "x"), ("number", float("nan")), ("number", float("inf"))],
    *[("number", 10**400), ("number", True), ("number", None), ("number", [42])],
    *[("one-of", 5), ("one-of", []), ("one-of", ""), ("one-of", [" "]), ("one-of", {"a": 1})],
    *[("choice", ""), ("choice", "AB"), ("choice", 3)],
    *[("regex", "("), ("regex", "(" * 20_000), ("regex", "a{99999999999999999999}")],
]


@pytest.mark.parametrize(("kind", "value"), BROKEN, ids=lambda v: repr(v)[:20])
def test_a_broken_check_is_no_wrong_answer(kind, value):
    for answer in ("42", ""):
        with pytest.raises(LemError, match="cannot be used") as caught:
            correct(answer, kind, value)
        assert len(caught.value.cause) < 300


@pytest.mark.parametrize(
    ("kind", "value"),
    [*(b for b in BROKEN if b[1] is not True), ("json", {"a": float("nan")})],  # true is read as 1
    ids=lambda v: repr(v)[:20],
)
def test_a_broken_check_is_found_before_anything_is_asked(tmp_path, kind, value):
    probe = {"id": "S", "domain": "D", "prompt": "?", "check": {"kind": kind, "value": value}}
    (tmp_path / "p.json").write_text(json.dumps([probe]))
    with pytest.raises(LemError, match=r"line 1 \(probe 1\): field 'check' cannot be used"):
        load_probes(str(tmp_path / "p.json"))


def test_a_broken_check_spoils_its_line_only(tmp_path):
    checks = [{"kind": "number", "value": 42}, {"kind": "regex", "value": "("}, {"kind": ["x"]}]
    rows = [{"response": "42", "check": check} for check in checks]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = lem("score", "a.jsonl", "--scorer", "checks", cwd=tmp_path)
    assert "1 answer scored, 2 broken lines" in done.stdout, done.stderr
    assert "a.jsonl, line 2: field 'check'" in done.stderr and "line 3" in done.stderr


def test_a_manifest_with_a_check_that_is_none(tmp_path):
    probe = {"id": "S", "domain": "D", "prompt": "42", "check": {"kind": "number", "value": 42}}
    (tmp_path / "p.json").write_text(json.dumps([probe]))
    done = lem("ab", "--model", "echo", "--probes", "p.json", "--run", "r", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "r" / "run.json").read_text())
    manifest["probes"]["items"][0]["check"] = "number"
    (tmp_path / "r" / "run.json").write_text(json.dumps(manifest))
    done = lem("score", "r", "--scorer", "checks", cwd=tmp_path)
    assert done.returncode == 2 and "the check of a probe is a text" in done.stderr


def test_an_answer_without_a_check_has_no_score():
    scorer = get_scorer("checks")
    assert scorer.score(Answer("42"))["correct"] is None
    assert scorer.score(Answer("42", check={"kind": "number", "value": 42}))["correct"] == 100.0


def test_the_retention_set_can_be_passed_and_failed():
    pairs = json.loads((REPOSITORY / "tests" / "data" / "retention_pairs.json").read_text())
    probes = {p.id: p for p in load_probes("R200")}
    assert pairs.keys() == probes.keys() and len(probes) == 200
    for name, texts in pairs.items():
        check = probes[name].check
        assert check is not None and texts["right"] and texts["wrong"], name
        assert all(correct(t, check.kind, check.value) for t in texts["right"]), name
        assert not any(correct(t, check.kind, check.value) for t in texts["wrong"]), name
        assert not correct(probes[name].prompt, check.kind, check.value) or check.kind in (
            "number",
            "one-of",
        ), name


def test_from_a_run_and_from_lines_to_the_score(tmp_path):
    probes = [
        {"id": "S1", "domain": "D", "prompt": "Say 42.", "check": {"kind": "number", "value": 42}},
        {"id": "S2", "domain": "D", "prompt": "Say 43.", "check": {"kind": "number", "value": 42}},
        {"id": "S3", "domain": "D", "prompt": "Say 44."},
    ]
    (tmp_path / "p.json").write_text(json.dumps(probes))
    # echo answers with the prompt, so the first is right and the second wrong
    done = lem("ab", "--model", "echo", "--probes", "p.json", "--run", "r", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = lem("score", "r", "--scorer", "checks", "--json", cwd=tmp_path)
    rows = [json.loads(li) for li in done.stdout.splitlines() if '"id"' in li]
    got = {r["id"]: r["checks"]["correct"] for r in rows if r["condition"] == "baseline"}
    assert got == {"S1": 100.0, "S2": 0.0, "S3": None}
    line = {"prompt": "?", "response": "42", "check": {"kind": "number", "value": 42}}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")
    done = lem("score", "a.jsonl", "--scorer", "checks", cwd=tmp_path)
    assert done.returncode == 0 and "100.0" in done.stdout
