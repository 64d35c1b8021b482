"""The built-in lesson sets, and the loader for the shapes in which training data is kept.

A file is JSON Lines or a JSON list. The shape of each item is told by its fields:

- ``messages``: ``[{"role", "content"}, ...]``, also as ``conversations`` with ``from``/``value``;
- ``prompt`` and ``completion`` (or ``response``, ``chosen``): two texts, or two lists of messages;
- ``instruction``, with an optional ``input``, and ``output``;
- ``text``: one text without turns, read as an answer without a question.

A folder is read from its train.jsonl, valid.jsonl and test.jsonl, as mlx-lm and TRL take it.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from lem.errors import LemError
from lem.records import Lesson, Message
from lem.text import excerpt, is_there, json_items, json_kind, read_text

#: Name of the set -> its file. The card of a set is NAME.md beside it.
BUILT_IN = {"ethics": "ethics.jsonl", "zen": "zen.jsonl", "creative": "creative.jsonl"}

Split = Literal["train", "valid", "test"]
#: File of a data folder -> its split. "validation" and "eval" are names other tools write.
FOLDER: dict[str, Split] = {
    "train.jsonl": "train",
    "valid.jsonl": "valid",
    "validation.jsonl": "valid",
    "eval.jsonl": "valid",
    "test.jsonl": "test",
}

_STOPPED = "The lessons were refused as a whole; nothing was written."
_EXAMPLE = '{"messages": [{"role": "user", "content": ...}, {"role": "assistant", ...}]}'
_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant"}
_ANSWERS = ("completion", "response", "chosen")


def load_lessons(where: str) -> list[Lesson]:
    """A lesson set by built-in name, file or folder, in order.

    Args:
        where: `ethics`, `zen`, `creative`, a .jsonl or .json file, or a folder of
            train/valid/test.jsonl. What does not say its split is for training.

    Raises:
        LemError: unreadable, empty or malformed; a lesson without an answer; an id used twice. The
            message names file, line and field.
    """
    path = Path(where)
    if where.lower() in BUILT_IN and not is_there(path):
        name = where.lower()
        return _parse(data_text(BUILT_IN[name]), f"built-in {name}", name, "train")
    if not is_there(path):
        known = ", ".join(BUILT_IN)
        raise LemError(
            f"No such lesson set, file or folder: {where}",
            _STOPPED,
            f"Name a JSONL file, a folder with train.jsonl, or a built-in set: {known}.",
        )
    if path.is_dir():
        files = [(path / file, split) for file, split in FOLDER.items() if (path / file).is_file()]
        if not files:
            raise LemError(
                f"{where} is a folder without {', '.join(FOLDER)}.",
                _STOPPED,
                "Name a file in it, or a folder as mlx-lm and TRL read it.",
            )
        lessons = [
            lesson
            for file, split in files
            for lesson in _parse(read_text(file, "lesson"), str(file), path.name, split)
        ]
        return _distinct(lessons)
    return _parse(read_text(path, "lesson"), str(path), path.stem, FOLDER.get(path.name, "train"))


def card(name: str) -> str:
    """The card of a built-in set: what it is for, how it was written, its limits (Markdown).

    Raises:
        LemError: there is no such set.
    """
    if name.lower() not in BUILT_IN:
        known = ", ".join(BUILT_IN)
        raise LemError(
            f"There is no built-in lesson set {name!r}.",
            "No card was shown.",
            f"Name one: {known}.",
        )
    return data_text(f"{name.lower()}.md")


def data_text(file: str) -> str:
    """A text file that ships with this room."""
    return (resources.files("lem.lessons") / "data" / file).read_text(encoding="utf-8")


def _parse(text: str, source: str, set_name: str, split: Split) -> list[Lesson]:
    items = json_items(text, source, "lesson", _EXAMPLE)
    if not items:
        raise LemError(f"{source} holds no lessons.", _STOPPED, "Add at least one lesson.")
    stem = Path(source).stem
    lessons = [
        _lesson(item, f"{source}, {at}", set_name, split, f"{stem}-{number}")
        for number, (at, item) in enumerate(items, 1)
    ]
    return _distinct(lessons)


def _distinct(lessons: list[Lesson]) -> list[Lesson]:
    seen: dict[str, Lesson] = {}
    for lesson in lessons:
        earlier = seen.setdefault(lesson.id, lesson)
        if earlier is not lesson:
            raise LemError(
                f"{lesson.source}: the id {excerpt(lesson.id)!r} was used before, at "
                f"{earlier.source}.",
                f"The two could not be told apart. {_STOPPED}",
                "Give every lesson its own id, or leave ids out.",
            )
    return lessons


def _lesson(item: Any, place: str, set_name: str, split: Split, own_id: str) -> Lesson:
    if not isinstance(item, dict):
        raise _refused(place, f"a lesson is an object, not {json_kind(item)}")
    messages = _messages(item, place)
    if messages[-1]["role"] != "assistant":
        raise _refused(place, f"the last turn is the {messages[-1]['role']}'s, so it has no answer")
    own_split = item.get("split", split)
    if own_split in ("validation", "eval"):
        own_split = "valid"
    if own_split not in ("train", "valid", "test"):
        raise _refused(place, f"field 'split' is {excerpt(str(own_split))!r}, not train/valid/test")
    axioms = item.get("axioms", [])
    if not isinstance(axioms, list) or not all(type(a) is int and 1 <= a <= 5 for a in axioms):
        raise _refused(place, "field 'axioms' is not a list of numbers from 1 to 5")
    given = item.get("id")
    return Lesson(
        id=str(given) if isinstance(given, str | int) and str(given).strip() else own_id,
        set=set_name,
        messages=messages,
        split=cast(Split, own_split),
        topic=_label(item, "topic", place),
        form=_label(item, "form", place),
        axioms=axioms,
        source=place,
    )


def _label(item: dict[str, Any], field: str, place: str) -> str:
    value = item.get(field, "")
    if not isinstance(value, str):
        raise _refused(place, f"field {field!r} must be a text, not {json_kind(value)}")
    return value


def _messages(item: dict[str, Any], place: str) -> list[Message]:
    """The turns of an item of any known shape."""
    if "messages" in item:
        return _turns(item["messages"], "role", "content", f"{place}: field 'messages'")
    if "conversations" in item:
        return _turns(item["conversations"], "from", "value", f"{place}: field 'conversations'")
    answer = next((name for name in _ANSWERS if name in item), None)
    if "prompt" in item and answer:
        both = [
            _side(item[name], role, f"{place}: field {name!r}")
            for name, role in (("prompt", "user"), (answer, "assistant"))
        ]
        return both[0] + both[1]
    if "instruction" in item and "output" in item:
        asked = _side(item["instruction"], "user", f"{place}: field 'instruction'")
        if item.get("input"):
            more = _side(item["input"], "user", f"{place}: field 'input'")
            asked = [{"role": "user", "content": "\n\n".join(t["content"] for t in asked + more)}]
        return asked + _side(item["output"], "assistant", f"{place}: field 'output'")
    if "text" in item:
        return _side(item["text"], "assistant", f"{place}: field 'text'")
    found = ", ".join(repr(excerpt(str(name), 20)) for name in list(item)[:5]) or "none"
    raise _refused(place, f"no lesson in it (fields: {found})")


def _side(value: Any, role: str, place: str) -> list[Message]:
    """A text as one turn, or a list of turns as they are."""
    if isinstance(value, list):
        return _turns(value, "role", "content", place)
    if not isinstance(value, str):
        raise _refused(place, f"it must be a text, not {json_kind(value)}")
    if not value.strip():
        raise _refused(place, "it is empty")
    return [{"role": role, "content": value}]


def _turns(value: Any, role_field: str, text_field: str, place: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise _refused(place, "a list of turns was expected")
    turns: list[Message] = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise _refused(place, f"turn {number} is {json_kind(turn)}, not an object")
        role, content = turn.get(role_field), turn.get(text_field)
        role = _ROLES.get(role, role) if isinstance(role, str) else role
        if role not in ("system", "user", "assistant"):
            raise _refused(place, f"turn {number} has the role {excerpt(str(role), 20)!r}")
        if not isinstance(content, str) or not (content.strip() or role == "system"):
            raise _refused(place, f"turn {number} has no text")
        turns.append({"role": role, "content": content})
    return turns


def _refused(place: str, why: str) -> LemError:
    return LemError(f"{place}: {why}.", _STOPPED, f"Write it as {_EXAMPLE}.")
