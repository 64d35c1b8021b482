"""Lessons as the files that trainers read: a folder of train.jsonl, valid.jsonl and test.jsonl.

- ``messages``: ``{"messages": [{"role", "content"}, ...]}``, the chat format of mlx-lm and TRL;
- ``prompt-completion``: ``{"prompt": text, "completion": text}``, the completion format of both,
  to which both apply the model's chat template (mlx-lm) or none (TRL). It holds one turn only.

A sidecar, dataset.json, says what the folder was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lem
from lem.errors import LemError
from lem.records import Lesson
from lem.text import dump_json, excerpt, is_there, sha256, write_all

SIDECAR = "dataset.json"
SPLITS = ("train", "valid", "test")


def as_messages(lesson: Lesson) -> dict[str, Any]:
    """One line of the chat format."""
    return {"messages": lesson.messages}


def as_prompt_completion(lesson: Lesson) -> dict[str, Any]:
    """One line of the completion format.

    Raises:
        LemError: the lesson has more than a question and an answer.
    """
    if [m["role"] for m in lesson.messages] != ["user", "assistant"]:
        raise LemError(
            f"Lesson {excerpt(lesson.id)} has {len(lesson.messages)} turns "
            f"({', '.join(m['role'] for m in lesson.messages)}).",
            "A prompt and a completion hold one question and its answer; nothing was written.",
            "Use --format messages, which holds any conversation, or --single-turn to leave "
            "longer lessons out.",
        )
    return {"prompt": lesson.messages[0]["content"], "completion": lesson.messages[1]["content"]}


#: Name of a format -> (lesson -> one line of the file).
FORMATS: dict[str, Callable[[Lesson], dict[str, Any]]] = {
    "messages": as_messages,
    "prompt-completion": as_prompt_completion,
}


def lines(lessons: Sequence[Lesson], format_name: str) -> str:
    """Lessons as JSON Lines.

    Raises:
        LemError: a lesson does not fit the format.
    """
    write = FORMATS[format_name]
    return "".join(dump_json(write(lesson)) + "\n" for lesson in lessons)


def whole_line(lesson: Lesson) -> dict[str, Any]:
    """A lesson with everything known of it, as the built-in sets are kept."""
    named = {"id": lesson.id, "topic": lesson.topic, "form": lesson.form, "axioms": lesson.axioms}
    known = {name: value for name, value in named.items() if value}
    return {**known, "split": lesson.split, "messages": lesson.messages}


def write_folder(
    lessons: Sequence[Lesson],
    folder: Path,
    format_name: str = "messages",
    *,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write a data folder.

    Args:
        lessons: in the order they are to be written; each says its split.
        folder: made if it is not there.
        format_name: a key of `FORMATS`.
        notes: for the sidecar, beside what is known here.
        overwrite: replace the files of an earlier folder.

    Returns:
        Lessons in each file written. A split without lessons has no file.

    Raises:
        LemError: a lesson does not fit the format; no lesson is for training; the folder has such
            files already; it cannot be written. Nothing was written then.
    """
    parts = {split: [le for le in lessons if le.split == split] for split in SPLITS}
    if not parts["train"]:
        raise LemError(
            "No lesson is for training.",
            "A folder without train.jsonl is of no use; nothing was written.",
            "Choose smaller --valid and --test shares.",
        )
    texts = {split: lines(part, format_name) for split, part in parts.items() if part}
    there = [f for f in (*(f"{s}.jsonl" for s in SPLITS), SIDECAR) if is_there(folder / f)]
    if there and not overwrite:
        raise LemError(
            f"{folder} already has {', '.join(there)}.",
            "They would be lost; nothing was written.",
            "Name another folder, or add --overwrite.",
        )
    about = {
        "made_by": f"lem {lem.__version__}",
        "format": format_name,
        "counts": {split: len(parts[split]) for split in texts},
        "sets": dict.fromkeys(lesson.set for lesson in lessons),
        "sha256": {f"{split}.jsonl": sha256(text) for split, text in texts.items()},
        **(notes or {}),
    }
    about["sets"] = list(about["sets"])
    files = {folder / f"{split}.jsonl": text for split, text in texts.items()}
    write_all({**files, folder / SIDECAR: dump_json(about, indent=1) + "\n"})
    for split in SPLITS:
        gone = folder / f"{split}.jsonl"
        if gone not in files and gone.is_file():  # of the earlier folder, no longer in this one
            gone.unlink()
    return {split: len(parts[split]) for split in texts}
