"""From one line of a JSON Lines file to the answers in it. Pure functions.

Four shapes are known. A line belongs to the first of them that fits:

- `run log`: a line of a run's responses.jsonl (`probe`, `condition`, `final`, ...);
- `published A/B`: one line a probe with `conditions: {NAME: {response, ...}}`, and one summary
  line, which holds no answers;
- `chat messages`: `messages: [{role, content}, ...]`. The last assistant message is the answer,
  the last user message before it the question; a system message is kept as the text that may
  have leaked. Earlier assistant turns are not scored;
- `pairs`: an answer and, where there is one, its question, under any of the names in `ANSWERS`
  and `QUESTIONS`. `instruction` with a non-empty `input` is one question of two paragraphs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from lem.errors import LemError
from lem.scorers.checks import correct

RUN_LOG, PUBLISHED, MESSAGES, PAIRS = "run log", "published A/B", "chat messages", "pairs"

ANSWERS = ("response", "answer", "output", "completion", "text")
"""Names of the answer in a pair; the first one present counts."""

QUESTIONS = ("prompt", "question", "instruction", "input")
"""Names of the question in a pair; the first one present counts."""


class BrokenLine(ValueError):
    """A line that cannot be scored; the message says why."""


class Item(NamedTuple):
    """One answer to be scored, with what its line says about it."""

    text: str
    """The answer, exactly as it stands in the input."""
    id: str | int | float | None = None
    """As the line has it: a number stays a number."""
    prompt: str | None = None
    system: str | None = None
    """A system message that stood before the question, where the line shows it."""
    model: str | None = None
    condition: str | None = None
    sample: int | None = None
    category: str | None = None
    finish_reason: str | None = None
    """`length` where the answer was cut off; None where the line does not say."""
    file: str = ""
    check: dict[str, Any] | None = None
    """How to tell a right answer, where the line or its run says so."""
    gain: float | None = None
    """See `Answer.gain`; it is measured, not read."""
    stored: dict[str, Any] | None = None
    """The score that stands beside a published answer, as it stands there (`heuristic`)."""
    cluster: str | None = None
    """The dilemma that the question is a wording of, where the line says so."""
    key: str | None = None
    """Of a line of a run's log."""
    numbered: bool = False
    """Whether `id` is the line's number, because the line has none."""
    samples: int | None = None
    """Of a published answer: of how many it is the first, and the only one in the file."""


def decode(raw: bytes) -> dict[str, Any]:
    """The object on one line.

    Raises:
        BrokenLine: not UTF-8, not JSON, or not an object.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise BrokenLine(f"not UTF-8: byte 0x{raw[e.start]:02x} at byte {e.start + 1}") from None
    try:
        record = json.loads(text)
    except json.JSONDecodeError as e:
        cause = e.msg.removesuffix(" at")
        raise BrokenLine(f"not JSON: {cause} at column {e.colno}{_hint(text)}") from None
    except ValueError:
        raise BrokenLine("not usable JSON: a whole number of thousands of digits") from None
    except RecursionError:
        raise BrokenLine("not usable JSON: lists or objects nested too deeply") from None
    if not isinstance(record, dict):
        raise BrokenLine(f"{kind_of(record)}, not an object{_hint(text)}")
    return record


def shape_of(record: Mapping[str, Any]) -> str:
    """Which of the four shapes an object has.

    Raises:
        BrokenLine: none of them.
    """
    if record.keys() >= {"probe", "condition", "final"}:
        return RUN_LOG
    if record.get("type") in ("probe", "summary"):
        return PUBLISHED
    if "messages" in record:
        return MESSAGES
    if any(name in record for name in ANSWERS + QUESTIONS):
        return PAIRS
    found = ", ".join(repr(name) for name in list(record)[:5]) or "none"
    raise BrokenLine(
        f"no answer in it (fields: {found}; wanted: messages, or one of {', '.join(ANSWERS)})"
    )


def items_of(record: Mapping[str, Any], shape: str) -> list[Item]:
    """The answers in an object of a known shape; none in the summary line of an A/B file.

    Raises:
        BrokenLine: a field is missing or of the wrong type.
    """
    return {RUN_LOG: _run_log, PUBLISHED: _published, MESSAGES: _messages, PAIRS: _pair}[shape](
        record
    )


def parse_line(raw: bytes, shape: str | None) -> tuple[str, list[Item]]:
    """The answers of one line, and the shape it has.

    Args:
        raw: the line, with or without its line end.
        shape: of the earlier lines of this file; None at the first good one.

    Raises:
        BrokenLine: it cannot be read, or has another shape than the lines before it.
    """
    record = decode(raw)
    own = shape_of(record)
    if shape is not None and own != shape:
        raise BrokenLine(f"a line of {own!r} in a file of {shape!r}: keep them in separate files")
    return own, items_of(record, own)


def _hint(text: str) -> str:
    if text.lstrip()[:1] == "[":
        return " (a JSON list? one object a line: jq -c '.[]')"
    return " (spread over several lines? one object a line: jq -c .)" if text.strip() == "{" else ""


def _run_log(record: Mapping[str, Any]) -> list[Item]:
    return [
        Item(
            text=_text(record, "final"),
            id=_text(record, "probe"),
            condition=_text(record, "condition"),
            sample=_whole(record, "sample"),
            finish_reason=_scalar(record, "finish_reason"),
            key=_scalar(record, "key"),
        )
    ]


def _published(record: Mapping[str, Any]) -> list[Item]:
    if record["type"] == "summary":
        return []
    conditions = record.get("conditions")
    if not isinstance(conditions, dict):
        raise BrokenLine(f"'conditions' is {kind_of(conditions)}, not an object")
    items = []
    for name, entry in conditions.items():
        if not isinstance(entry, dict):
            raise BrokenLine(f"condition {name!r} is {kind_of(entry)}, not an object")
        items.append(
            Item(
                text=_text(entry, "response", f" in condition {name!r}"),
                id=_id(record),
                prompt=_optional(record, "prompt"),
                model=_scalar(record, "model"),
                condition=name,
                category=_scalar(record, "category", "domain"),
                stored=_stored(entry),
                samples=_whole(entry, "samples"),
                cluster=_scalar(record, "cluster"),
            )
        )
    return items


def _stored(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The counts and the score of an entry. With several samples `lek_score` is their mean and
    the counts are the shown one's, whose own score is among them."""
    counts = entry.get("heuristic")
    own = dict(counts) if isinstance(counts, dict) else {}
    if "lek_score" in entry and "lek_score" not in own:
        own["lek_score"] = entry["lek_score"]
    return own or None


def _messages(record: Mapping[str, Any]) -> list[Item]:
    turns = record["messages"]
    if not isinstance(turns, list):
        raise BrokenLine(f"'messages' is {kind_of(turns)}, not a list")
    last: dict[str, str] = {}  # role -> its latest message
    found: tuple[str, str | None] | None = None
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            raise BrokenLine(f"message {number} is {kind_of(turn)}, not an object")
        role = _text(turn, "role", f" in message {number}")
        role = "system" if role == "developer" else role
        if role not in ("system", "user", "assistant"):  # what a tool said is nobody's answer
            continue
        if turn.get("content") is None and turn.get("tool_calls"):
            continue  # a call of a tool has no text
        last[role] = _content(turn, f" in message {number}")
        if role == "assistant":
            found = last["assistant"], last.get("user")
    if found is None:
        raise BrokenLine("no assistant message in it")
    return [_with_facts(record, found[0], found[1], last.get("system"))]


def _content(turn: Mapping[str, Any], where: str) -> str:
    """The text of a message; of a list of parts, as some clients log it, the text parts."""
    parts = turn.get("content")
    if not isinstance(parts, list):
        return _text(turn, "content", where)
    if not all(isinstance(part, dict) for part in parts):
        raise BrokenLine(f"a part of field 'content' is no object{where}")
    return "\n".join(_text(part, "text", where) for part in parts if part.get("type") == "text")


def _pair(record: Mapping[str, Any]) -> list[Item]:
    name = next((n for n in ANSWERS if n in record), None)
    if name is None:
        raise BrokenLine(f"no answer in it (wanted: one of {', '.join(ANSWERS)})")
    asked = next((n for n in QUESTIONS if n in record), None)
    prompt = _optional(record, asked) if asked else None
    if asked == "instruction" and (more := _optional(record, "input")):
        prompt = f"{prompt}\n\n{more}" if prompt else more
    return [_with_facts(record, _text(record, name), prompt, _optional(record, "system"))]


def _with_facts(
    record: Mapping[str, Any], text: str, prompt: str | None, system: str | None
) -> Item:
    return Item(
        text=text,
        id=_id(record),
        prompt=prompt,
        system=system,
        model=_scalar(record, "model"),
        condition=_scalar(record, "condition"),
        sample=_whole(record, "sample"),
        category=_scalar(record, "category", "domain"),
        finish_reason=_scalar(record, "finish_reason"),
        cluster=_scalar(record, "cluster"),
        check=_check(record),
    )


def _check(record: Mapping[str, Any]) -> dict[str, Any] | None:
    value = record.get("check")
    if value is not None and not (isinstance(value, dict) and "kind" in value):
        raise BrokenLine('field \'check\' is not {"kind": ..., "value": ...}')
    try:
        if value is not None:
            correct("", str(value["kind"]), value.get("value"))
    except LemError as e:
        raise BrokenLine(f"field 'check': {e.cause.removesuffix('.')}") from None
    return value


def _text(record: Mapping[str, Any], name: str, where: str = "") -> str:
    if name not in record:
        raise BrokenLine(f"field {name!r} is missing{where}")
    value = record[name]
    if not isinstance(value, str):
        raise BrokenLine(f"field {name!r} is {kind_of(value)}, not a text{where}")
    return value


def _optional(record: Mapping[str, Any], name: str) -> str | None:
    return None if record.get(name) is None else _text(record, name)


def _id(record: Mapping[str, Any]) -> str | int | float | None:
    """The id as it stands, so that a record can be joined to its line."""
    value = record.get("id")
    if isinstance(value, float) and not math.isfinite(value):
        raise BrokenLine(f"field 'id' is {value}, which no JSON can hold")
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise BrokenLine(f"field 'id' is {kind_of(value)}, not a text or a number")
    return value


def _scalar(record: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that is there, as text."""
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise BrokenLine(f"field {name!r} is {kind_of(value)}, not a text")
        return str(value)
    return None


def _whole(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise BrokenLine(f"field {name!r} is {kind_of(value)}, not a whole number")
    return value


def kind_of(value: object) -> str:
    """What a value of JSON is, in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
