"""Reading a judge's reply. A verdict is given in exactly the form asked for, or there is none."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from lem.judge.rubrics import HIGHEST, LOWEST
from lem.records import FinishReason
from lem.text import excerpt

#: Why there is no verdict. On the reply: cut off; refused; other text than one JSON object; an
#: object of another form; a score off the scale; more than one verdict. On the request: it
#: failed; the answer to be judged is empty; the rubric needs points to notice and the probe has
#: none; the prompt is longer than the judge's context; it holds what the judge reads as control
#: tokens.
UNSCORED = (
    *("truncated", "refused", "nonsense", "malformed", "out of range", "ambiguous"),
    *("failed", "empty answer", "no points", "too long", "control tokens"),
)

_SCORES: dict[Any, int] = {score: score for score in range(LOWEST, HIGHEST + 1)}
_WINNER: dict[Any, int] = {"A": 1, "B": -1, "tie": 0}
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m (?:sorry|unable|not able)|i am (?:sorry|unable|not able)|sorry\b|"
    r"i (?:can(?:no|['’]?)t|won['’]?t|will not|must decline)\b|as an ai\b)",
    re.IGNORECASE,
)


class Verdict(NamedTuple):
    value: int | None
    """A score; or 1, -1, 0 where A is better, B is better, neither is."""
    unscored: str | None
    """One of `UNSCORED` where there is no value."""
    reason: str = ""
    """The judge's own words, on one safe line."""


class _TwoVerdicts(ValueError):
    """A key that an object holds twice."""


def read_verdict(reply: str, finish_reason: FinishReason, *, pairwise: bool) -> Verdict:
    """The verdict in a reply, from which a think block and a code fence are removed first."""
    text = _bare(reply)
    try:
        objects = _objects(text)
    except _TwoVerdicts:
        return Verdict(None, "ambiguous")
    except (ValueError, RecursionError):
        return Verdict(None, _no_verdict(text, finish_reason))
    if len(objects) > 1:
        return Verdict(None, "ambiguous")
    field = "winner" if pairwise else "score"
    found = objects[0]
    if not (isinstance(found, dict) and found.keys() == {field, "reason"}):
        return Verdict(None, "malformed")
    said, reason = found[field], found["reason"]
    if not isinstance(reason, str) or type(said) is not (str if pairwise else int):
        return Verdict(None, "malformed")
    values = _WINNER if pairwise else _SCORES
    if said not in values:
        return Verdict(None, "out of range")
    return Verdict(values[said], None, excerpt(reason, 300))


def _bare(reply: str) -> str:
    text = reply.strip()
    if "</think>" in text:  # the opening mark may have been part of the prompt
        text = text.rpartition("</think>")[2].strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    return text


def _objects(text: str) -> list[Any]:
    """The JSON values that make up the text, one behind another.

    Raises:
        ValueError, RecursionError: there is none, or there is something else too.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_without_doubles)
    values: list[Any] = []
    at = 0
    while at < len(text) or not values:
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        while text[at : at + 1].isspace():
            at += 1
    return values


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _TwoVerdicts
    return fields


def _no_verdict(text: str, finish_reason: FinishReason) -> str:
    if finish_reason == "filtered" or _REFUSAL.match(text):
        return "refused"
    return "truncated" if finish_reason == "length" else "nonsense"
