"""Whether an answer that has one right content has it: arithmetic, facts, formats, code reading.

This is what shows that training has damaged what a model could do. The probe says how it is
checked (`lem.records.Check`); an answer to a probe that does not say has no score.

Kinds, and what they accept:

- ``number``: the last number in the answer is the value. Thousands commas are read, units and
  words around it are not looked at.
- ``one-of``: one of the accepted texts stands in the answer as whole words, case folded.
- ``choice``: the answer names the letter: alone, after "answer" or "option", at its beginning
  before a mark, or as the only single capital letter in it.
- ``regex``: the whole answer, outer blanks apart, matches the pattern; this tests form.
- ``json``: the answer, a code fence around it apart, is this JSON value; order of keys is free.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from lem.errors import LemError
from lem.scorers.base import Answer, Field, Span
from lem.scorers.prose import clean
from lem.text import excerpt

VERSION = "checks/1"
LABEL = "correct answers (%)"

_NUMBER = re.compile(r"(?<![\w.])[-\u2212+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)")
_SINGLE = re.compile(r"(?<![^\W_])[A-H](?![^\W_])")
_ARTICLE = re.compile(r"(?<![^\W_])A [a-z]")  # "A dog" names no option
_TOLD = re.compile(r"\b(?:[Aa]nswer|ANSWER|option|choice)\W{0,4}(?:is\W{0,4})?([A-Z])(?![^\W_])")
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.S)


def correct(text: str, kind: str, value: Any) -> bool:
    """Tell whether an answer is right.

    Args:
        text: the answer, exactly as the model gave it.
        kind: one of those above.
        value: what is right, in the form the kind wants.

    Raises:
        LemError: no such kind, or a value of the wrong form.
    """
    said = clean(text).strip()
    try:
        if kind not in _KINDS:
            raise ValueError("no such kind")
        return _KINDS[kind](said, value) and bool(said)
    except (TypeError, ValueError, OverflowError, RecursionError, re.error) as e:
        raise LemError(
            f"The check {excerpt(repr(kind))} with the value {excerpt(repr(value))} cannot be used "
            f"({excerpt(str(e))}).",
            "Whether answers are right cannot be told; nothing was scored.",
            f"Use one of: {', '.join(_KINDS)}; see lem.records.Check for their values.",
        ) from None


def _number(said: str, value: Any) -> bool:
    right = float(value)
    if isinstance(value, bool) or not math.isfinite(right):
        raise ValueError("no finite number")
    found = _NUMBER.findall(said)
    if not found:
        return False
    last = float(found[-1].replace(",", "").replace("\u2212", "-"))
    return math.isclose(last, right, rel_tol=1e-9, abs_tol=1e-9)


def _one_of(said: str, value: Any) -> bool:
    accepted = [value] if isinstance(value, str) else value
    if not isinstance(accepted, list) or not accepted:
        raise TypeError("no text and no list of texts")
    if not all(isinstance(one, str) and one.strip() for one in accepted):
        raise ValueError("an accepted text is empty or no text")
    folded = said.casefold()
    return any(
        re.search(rf"(?<![^\W_]){re.escape(clean(one).casefold())}(?![^\W_])", folded)
        for one in accepted
    )


def _choice(said: str, value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z]", value):
        raise ValueError("not one letter")
    letter = value.upper()
    told = _TOLD.findall(said)
    if told:
        return bool(told[-1] == letter)
    first = re.match(r"\W*([A-Z])(?:[^\w\s]|\s*$)", said)
    if first:
        return first[1] == letter
    return set(_SINGLE.findall(_ARTICLE.sub("", said) if letter == "A" else said)) == {letter}


def _regex(said: str, value: Any) -> bool:
    return re.fullmatch(value, said) is not None


def _json(said: str, value: Any) -> bool:
    fenced = _FENCE.match(said)
    try:
        return _same(json.loads(fenced[1] if fenced else said), value)
    except (ValueError, RecursionError):
        return False


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in JSON, where true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


_KINDS = {
    "number": _number,
    "one-of": _one_of,
    "choice": _choice,
    "regex": _regex,
    "json": _json,
}


class ChecksScorer:
    """A `lem.scorers.base.Scorer` of answers that can be checked."""

    version, label, headline = VERSION, LABEL, "correct"

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, answer: Answer) -> dict[str, Field]:
        """Return `correct`, 100 or 0 (per cent), and the kind of check; both None without one."""
        if answer.check is None:
            return {"correct": None, "kind": None}
        kind = str(answer.check.get("kind"))
        right = correct(answer.text, kind, answer.check.get("value"))
        return {"correct": 100.0 if right else 0.0, "kind": kind}

    def delta(self, answer: Answer) -> dict[str, Field]:
        """Return nothing: there is no such thing here."""
        return {}

    def evidence(self, answer: Answer) -> Mapping[str, list[Span]]:
        """Return nothing: an answer is right as a whole."""
        return {}


def scorer(name: str, profile: str | None = None) -> ChecksScorer:
    """Return the scorer; it has no profiles, so `profile` changes nothing."""
    return ChecksScorer(name)
